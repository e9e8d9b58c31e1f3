"""Reading files that others may have put there: never blocks on a FIFO, never reads a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """The path leads to a folder, FIFO, socket or device."""


class TooLargeError(OSError):
    """The file holds more than the caller takes."""


def read_regular(path: Path, limit: int) -> bytes:
    """Read a regular file, following symlinks.

    Parameters
    ----------
    path
        The file.
    limit
        The most bytes to take.

    Raises
    ------
    NotRegularError
        If it is anything else than a regular file.
    TooLargeError
        If it holds more than `limit` bytes.
    OSError
        If it cannot be opened or read.
    """
    _require_regular(path, path.stat())
    with open(path, "rb", opener=_open_without_blocking) as file:
        _require_regular(path, os.fstat(file.fileno()))
        return _read_up_to(path, file, limit)


def _open_without_blocking(path: str, flags: int) -> int:
    # The stat before tells what is there without touching it; a FIFO that takes its place since must not block either.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _require_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise NotRegularError(None, "is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(None, "is not a regular file", str(path))


def _read_up_to(path: Path, file: BinaryIO, limit: int) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLargeError(None, f"is larger than {limit} bytes", str(path))
    return data
