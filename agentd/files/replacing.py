"""Replacing a file as a whole: who reads it sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

_NEW_FILE: Final = 0o640
"""Mode of a file that there was not before: its texts are for the operators."""


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
