"""Following a path name by name, so that whoever asks sees each on the way."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

_MOST_LINKS: Final = 40
"""As many as Linux follows."""

Look: TypeAlias = Callable[[Path, os.stat_result], None]
"""Given a name on the way, by a path without links before it, and what ``lstat`` says of it."""

Go: TypeAlias = Callable[[str | Path], None]
"""Told of each path before it is touched."""


def inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder, or below it."""
    return path == folder or folder in path.parents


def nowhere(_path: str | Path) -> None:
    """Tell nobody."""


def followed(path: Path, look: Look, go: Go = nowhere) -> Path:
    """Resolve an absolute path as the kernel does.

    Parameters
    ----------
    look
        Given each name on the way before it is followed; what it raises ends that.

    Raises
    ------
    OSError
        If it is not there, or leads through too many links.
    """
    at, left, links = Path("/"), list(reversed(path.parts[1:])), 0
    while left:
        part = left.pop()
        if part == "..":
            at = at.parent
            continue
        step = at / part
        go(step)
        entry = step.lstat()
        look(step, entry)
        if not stat.S_ISLNK(entry.st_mode):
            at = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = step.readlink()
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        at = Path("/") if target.is_absolute() else at
    return at
