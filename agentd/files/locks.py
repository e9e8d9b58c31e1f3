"""Advisory locks (flock(2)), which end with their process: on anything open, and on a lock file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, within

PATIENCE: Final = 10.0
"""Seconds to wait for the lock of a file; each holder needs milliseconds."""

_LOOK_AFTER: Final = 0.01

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class LockedError(Exception):
    """Somebody else holds the lock for longer than anybody should; the text names the lock file."""


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock what is open, unless somebody else holds it; says whether it is ours.

    Raises
    ------
    OSError
        If it cannot be locked: its file system has no locks, say.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_file(path: Path) -> int | None:
    """Make and lock a file of our own that stays, for as long as it is open; ``None`` if somebody else holds it.

    Raises
    ------
    OSError
        If it cannot be made or locked.
    """
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if try_lock(descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def unlock(descriptor: int) -> None:
    """Give up the lock on what is open, though others have it open too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def stands_at(descriptor: int, path: Path) -> bool:
    """Whether what is open stands at a path: the holder of a lock file removes it at the end."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


@contextlib.contextmanager
def locked(file: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock beside a file, ``.NAME.lock``; it is removed afterwards.

    Raises
    ------
    LockedError
        If it cannot be had within `patience` seconds.
    OSError
        If the lock file cannot be made; `NotAnsweringError` if its folder does not answer.
    """
    path = file.with_name(f".{file.name}.lock")
    end = time.monotonic() + patience
    while (descriptor := within(path, lambda: _open_locked(path))) is None:
        if time.monotonic() >= end:
            raise LockedError(f"another program has held {path} for {patience:.0f} s; end it, or remove the file")
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (flock cannot wait for a limited time)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, NotAnsweringError):
            within(path, path.unlink)
        os.close(descriptor)


def _open_locked(path: Path) -> int | None:
    try:
        descriptor = lock_file(path)
    except PermissionError:
        # Another user's, who is editing; or we may not write here at all.
        if not path.exists():
            raise
        return None
    if descriptor is None or stands_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None
