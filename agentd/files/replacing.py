"""Replacing a file as a whole: who reads it sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

_NEW_FILE: Final = 0o640
"""Mode of a file that there was not before: its texts are for the operators."""

PART: Final = ".new"
"""End of the hidden name under which `replace_private` writes."""


def replace_private(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace a file that nobody but its owner reads, and that one program alone writes.

    Parameters
    ----------
    sync
        Whether it is to be on the disk when this returns, which takes 5 ms and more; else it outlives the program, and
        `sync_entry` has it outlive a power failure.

    Raises
    ------
    OSError
        If it cannot be written: it is as it was.
    """
    part = path.with_name(f".{path.name}{PART}")
    _create(part)
    part.write_bytes(data)
    if sync:
        _sync(part)
    part.replace(path)
    if sync:
        _sync(path.parent)


def sync_entry(path: Path) -> None:
    """Bring to the disk what stands at a path; raises `OSError` if that is not possible."""
    _sync(path)
    _sync(path.parent)


def _create(part: Path) -> None:
    """Make it empty, whatever a program that was killed left there."""
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_entry(folder: int, name: str) -> int:
    """Open the regular file of a name in an open folder, to read it.

    Raises
    ------
    OSError
        If there is none, or it is a symlink or anything else.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", name)
    return descriptor


class Replacement:
    """New content beside a file, on disk and ready to take its place.

    It stands in ``.NAME.tmp``, so only who holds the lock may make it; what an edit that was killed left there goes.
    Owner, group, mode and extended attributes (access control lists among them) are those of the file there is, as far
    as this user may give them away. A group that cannot be kept gets no more than everybody has.
    """

    def __init__(self, file: Path, content: bytes, folder: int | None = None) -> None:
        """Write it.

        Parameters
        ----------
        folder
            The folder of the file, opened, if its path may come to lead elsewhere; a symlink there is replaced itself.

        Raises
        ------
        OSError
            If that is not possible; nothing is left behind then.
        """
        self._folder = folder
        self._file = file if folder is None else Path(file.name)
        self._part = self._file.with_name(f".{file.name}.tmp")
        self.discard()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._part, flags, 0o600, dir_fd=folder)
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
        if self._folder is None:
            self._dress_like(descriptor, self._file)
            return
        try:
            before = open_entry(self._folder, self._file.name)
        except OSError:
            os.fchmod(descriptor, _NEW_FILE)
            return
        try:
            self._dress_like(descriptor, before)
        finally:
            os.close(before)

    def _dress_like(self, descriptor: int, before: Path | int) -> None:
        try:
            like = os.stat(before)  # noqa: PTH116 (a descriptor has no path)
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
            for attribute in os.listxattr(before):
                # Of some (security.*) only root may give copies away.
                with contextlib.suppress(OSError):
                    os.setxattr(descriptor, attribute, os.getxattr(before, attribute))

    def take_place(self) -> None:
        """Replace the file; on disk when this returns.

        Raises
        ------
        OSError
            If that is not possible; nothing is left behind then.
        """
        try:
            os.replace(self._part, self._file, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            self.discard()
            raise
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Remove it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part, dir_fd=self._folder)
