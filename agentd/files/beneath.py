"""Reaching what is below a folder whose owner may put links there: no link below it is followed, whoever is quicker.

Each name on the way is opened in the folder opened before, so what is checked is what is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", 0)


def open_beneath(root: Path | int, path: Path, flags: int) -> int:
    """Open what is below a folder, without following a link there.

    Parameters
    ----------
    root
        The folder; a link in its place is not followed either. Or its descriptor.
    path
        Begins with `root`, or is absolute in what the descriptor stands for.

    Raises
    ------
    OSError
        If it is not there, or one of its names is a link: ``ELOOP`` or ``ENOTDIR``.
    """
    with _parent(root, path) as (folder, name):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def stat_beneath(root: Path | int, path: Path) -> os.stat_result:
    """Say what a path leads to, without following a link; parameters and errors as for `open_beneath`."""
    with _parent(root, path) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def list_beneath(root: Path | int, path: Path) -> list[str]:
    """List a folder; parameters and errors as for `open_beneath`."""
    folder = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    finally:
        os.close(folder)


def read_link_beneath(root: Path | int, path: Path) -> str:
    """Read the link that a path ends with; parameters and errors as for `open_beneath`."""
    with _parent(root, path) as (folder, name):
        return os.readlink(name, dir_fd=folder)


@contextlib.contextmanager
def _parent(root: Path | int, path: Path) -> Iterator[tuple[int, str]]:
    """Open the folder that a path ends in."""
    top = Path("/") if isinstance(root, int) else root
    names = path.relative_to(top).parts if path.is_relative_to(top) else ("..",)
    if ".." in names:
        raise OSError(errno.EPERM, f"leads out of {top}", str(path))
    folder = os.dup(root) if isinstance(root, int) else os.open(root, _FOLDER)
    try:
        for name in names[:-1]:
            outer, folder = folder, os.open(name, _FOLDER, dir_fd=folder)
            os.close(outer)
        yield folder, names[-1] if names else "."
    finally:
        os.close(folder)
