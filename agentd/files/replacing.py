"""Replacing a file as a whole, under a lock: who reads it sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, within

PATIENCE: Final = 10.0
"""Seconds to wait for the lock; each holder needs milliseconds."""

_LOOK_AFTER: Final = 0.01

_NEW_FILE: Final = 0o640
"""Mode of a file that there was not before: its texts are for the operators."""


class LockedError(Exception):
    """Somebody else holds the lock for longer than anybody should; the text names the lock file."""


@contextlib.contextmanager
def locked(file: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the advisory lock beside a file, ``.NAME.lock``; it is removed afterwards.

    Raises
    ------
    LockedError
        If it cannot be had within `patience` seconds.
    OSError
        If the lock file cannot be made; `NotAnsweringError` if its folder does not answer.
    """
    path = file.with_name(f".{file.name}.lock")
    end = time.monotonic() + patience
    while (descriptor := within(path, lambda: _try_lock(path))) is None:
        if time.monotonic() >= end:
            raise LockedError(f"another program has held {path} for {patience:.0f} s; end it, or remove the file")
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (flock cannot wait for a limited time)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, NotAnsweringError):
            within(path, path.unlink)
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        # Another user's, who is editing; or we may not write here at all.
        if not path.exists():
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The former holder removes the file when it is done: make sure that the locked one still stands there.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


class Replacement:
    """New content beside a file, on disk and ready to take its place.

    It stands in ``.NAME.tmp``, so only who holds the lock may make it; what an edit that was killed left there goes.
    Owner, group, mode and extended attributes (access control lists among them) are those of the file there is, as far
    as this user may give them away. A group that cannot be kept gets no more than everybody has.
    """

    def __init__(self, file: Path, content: bytes) -> None:
        """Write it.

        Raises
        ------
        OSError
            If that is not possible; nothing is left behind then.
        """
        self._file = file
        self._part = file.with_name(f".{file.name}.tmp")
        self.discard()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._part, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as part:
                part.write(content)
                part.flush()
                self._dress(part.fileno())
                os.fsync(part.fileno())
        except BaseException:
            self.discard()
            raise

    def _dress(self, descriptor: int) -> None:
        try:
            like = self._file.stat()
        except FileNotFoundError:
            os.fchmod(descriptor, _NEW_FILE)
            return
        mode = stat.S_IMODE(like.st_mode)
        try:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        except PermissionError:
            try:
                os.fchown(descriptor, -1, like.st_gid)
            except PermissionError:
                mode = mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
        os.fchmod(descriptor, mode)
        if hasattr(os, "listxattr"):
            for attribute in os.listxattr(self._file):
                # Of some (security.*) only root may give copies away.
                with contextlib.suppress(OSError):
                    os.setxattr(descriptor, attribute, os.getxattr(self._file, attribute))

    def take_place(self) -> None:
        """Replace the file; on disk when this returns.

        Raises
        ------
        OSError
            If that is not possible; nothing is left behind then.
        """
        try:
            self._part.replace(self._file)
        except BaseException:
            self.discard()
            raise
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Remove it."""
        self._part.unlink(missing_ok=True)
