"""Running out of file descriptors."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
from collections.abc import Iterator


def lowest_free(pid: int) -> int:
    """The number that a process' next descriptor gets."""
    used = set(map(int, os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 (numbers, not paths)
    return next(number for number in itertools.count() if number not in used)


@contextlib.contextmanager
def descriptors_limited(pid: int, room: int = 0) -> Iterator[None]:
    """Let another process open so many more descriptors."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free(pid) + room, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Open nothing more in this process."""
    taken: list[int] = []
    with descriptors_limited(os.getpid()):
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)
