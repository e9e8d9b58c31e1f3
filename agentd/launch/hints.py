"""The FIFO by which launchers say that a report is there: a run's id, a line each."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable

from agentd.launch.launcher import HINTS

_LONGEST_HINT = 64
"""Bytes; a run's id is shorter."""


class HintPipe:
    """The FIFO, open and listened to in the running loop.

    Parameters
    ----------
    folder
        Descriptor of the runtime directory.
    owner, group
        Numeric agent user and group.
    on_hint
        Called with a run's id.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, folder: int, owner: int, group: int, on_hint: Callable[[str], None]) -> None:
        self._on_hint = on_hint
        self._partial = b""
        # A former daemon's is used again: launchers that run may have it open.
        self.descriptor = _open(folder) or _make(folder, owner, group)
        asyncio.get_running_loop().add_reader(self.descriptor, self._receive)

    def _receive(self) -> None:
        for run_id in self._read():
            self._on_hint(run_id)

    def _read(self) -> Iterable[str]:
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return ()
        *whole, self._partial = (self._partial + data).split(b"\n")
        # A line that never ends can only come from something that is no launcher.
        self._partial = self._partial[-_LONGEST_HINT:]
        # Many hints about one run ask for one look.
        return dict.fromkeys(line.decode("ascii", "replace") for line in whole)

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self.descriptor)
        os.close(self.descriptor)


def _open(folder: int) -> int | None:
    """Open the FIFO, for writing too: so it never reads as ended when no launcher has it open."""
    try:
        found = os.stat(HINTS, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISFIFO(found.st_mode):
        return None
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(HINTS, flags, dir_fd=folder)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _make(folder: int, owner: int, group: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(HINTS, dir_fd=folder)
    os.mkfifo(HINTS, 0o600, dir_fd=folder)
    os.chown(HINTS, owner, group, dir_fd=folder, follow_symlinks=False)
    made = _open(folder)
    if made is None:
        raise OSError(errno.EBUSY, "something else was put in its place")
    return made
