"""Which files of a folder have a name like a pattern."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MOST_ENTRIES: Final = 10_000
"""Of a folder, that are looked at."""


MISSING: Final = 0
"""In place of the inode of a folder that is not there."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """By what it is seen that a file is not written any more."""

    inode: int
    size: int
    modified: int
    """Nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The files at one moment."""

    folder: int
    """The folder's inode."""
    files: Mapping[str, FileStamp] = field(default_factory=dict)
    """By name."""


def list_matching(folder: Path, pattern: str) -> Listed | str:
    """List the regular files of a folder, not what symlinks lead to; or say why that is not possible."""
    found: dict[str, FileStamp] = {}
    try:
        inode = folder.stat().st_ino
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MOST_ENTRIES:
                    # Of a part, nobody could say what is new.
                    return f"it has more than {MOST_ENTRIES} entries"
                if not fnmatch.fnmatchcase(entry.name, pattern) or _is_hidden(entry.name, pattern):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = FileStamp(status.st_ino, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        return Listed(MISSING)
    except OSError as error:
        return str(error.strerror)
    return Listed(inode, found)


def _is_hidden(name: str, pattern: str) -> bool:
    """Whether a shell's pattern would pass it over: programs write under such names what is not whole yet."""
    return name.startswith(".") and not pattern.startswith(".")
