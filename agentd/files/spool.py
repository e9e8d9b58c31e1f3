"""A folder in which one program leaves files for another: each whole, and on disk before the first goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.files.replacing import PART, replace_private

MOST: Final = 1000
"""Files that may wait."""
LARGEST: Final = 1 << 20
"""Bytes of one."""

_SUFFIX: Final = ".json"


class SpoolFullError(OSError):
    """So much waits that nothing is taken any more."""


def spool(folder: Path, name: str, data: bytes) -> bool:
    """Leave a file, on disk by then; false if it waits already.

    Raises
    ------
    SpoolFullError
        If `MOST` wait.
    OSError
        If it cannot be written.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}{_SUFFIX}"
    if path.exists():
        return False
    with os.scandir(folder) as entries:
        if sum(1 for _ in islice(entries, MOST)) >= MOST:
            raise SpoolFullError(0, f"{MOST} files wait", str(folder))
    replace_private(path, data)
    return True


def read_spool(folder: Path) -> list[tuple[str, bytes]]:
    """Read the files that wait, those that came first, by name; one that cannot be read is empty."""
    found: list[tuple[int, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, MOST):
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    with contextlib.suppress(OSError):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    except FileNotFoundError:
        return []
    return [(name, _read(folder / name)) for _, name in sorted(found)]


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, LARGEST, beneath=path.parent)
    except OSError:
        return b""


def remove_spooled(folder: Path, names: Iterable[str]) -> None:
    """Take files away that are dealt with."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()


def remove_parts(folder: Path) -> None:
    """Take away what a program that was killed had begun to leave; for who leaves files there, before it does."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(PART):
                remove_spooled(folder, [entry.name])
