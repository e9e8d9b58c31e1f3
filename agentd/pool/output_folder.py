"""Write a new folder that takes its name once it is complete.

Its content comes from agents, who may also be able to change the folder around it: everything is written relative to
descriptors, never through a link, over an existing file, or into a folder that was not made here.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from agentd.text.quoting import quote

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class OutputError(Exception):
    """A folder cannot be written; the text says why, and what to do."""


class OutputFolder:
    """A folder that is being filled, readable by its owner only.

    Both methods raise `OutputError` if the name exists, and `OSError` if nothing can be created.
    """

    def __init__(self, descriptor: int) -> None:
        self._root = descriptor
        self._made: set[tuple[str, ...]] = set()

    def new_file(self, path: str, *, executable: bool = False) -> BinaryIO:
        """Create a file, if need be `executable`, and its folders."""
        with self._parent_of(path) as (folder, name), _unique(path):
            return os.fdopen(os.open(name, _NEW, 0o700 if executable else 0o600, dir_fd=folder), "wb")

    def new_link(self, path: str, target: bytes) -> None:
        """Create a symlink and its folders; to be called after all files are written."""
        with self._parent_of(path) as (folder, name), _unique(path):
            os.symlink(os.fsdecode(target), name, dir_fd=folder)

    @contextmanager
    def _parent_of(self, path: str) -> Iterator[tuple[int, str]]:
        *folders, name = path.split("/")
        at = os.dup(self._root)
        try:
            for depth, part in enumerate(folders, 1):
                if (made := tuple(folders[:depth])) not in self._made:
                    with _unique("/".join(made)):
                        os.mkdir(part, 0o700, dir_fd=at)
                    self._made.add(made)
                inner = os.open(part, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            yield at, name
        finally:
            os.close(at)


@contextmanager
def _unique(path: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        problem = f"{quote(path)} exists already, under a name that is the same on this file system"
        raise OutputError(problem) from None


@contextmanager
def new_folder(folder: Path) -> Iterator[OutputFolder]:
    """Create a folder completely or not at all.

    Raises
    ------
    OutputError
        If it exists and is not empty, or cannot be written.
    """
    try:
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
        if os.path.lexists(folder):
            raise OutputError(f"{folder} exists; name another folder with --output")
        folder.parent.mkdir(parents=True, exist_ok=True)
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield from _filled(parent, folder)
        finally:
            os.close(parent)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}; name another folder with --output") from error


def _filled(parent: int, folder: Path) -> Iterator[OutputFolder]:
    part = f".{folder.name[:100]}.{secrets.token_hex(8)}"
    os.mkdir(part, 0o700, dir_fd=parent)
    try:
        descriptor = os.open(part, _FOLDER, dir_fd=parent)
        try:
            yield OutputFolder(descriptor)
            os.rename(part, folder.name, src_dir_fd=parent, dst_dir_fd=parent)
            made, named = os.fstat(descriptor), os.stat(folder.name, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(descriptor)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True, dir_fd=parent)
        raise
    if (made.st_dev, made.st_ino) != (named.st_dev, named.st_ino):
        # The owner of the folder around it can do that.
        raise OutputError(
            f"{folder} is not the folder that was written: somebody else is changing {folder.parent}; use --output"
        )
