"""Reading files that others may have put there: never blocks on a FIFO, never reads a device."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agentd.files.beneath import open_beneath, stat_beneath
from agentd.files.links import followed, inside
from agentd.files.permissions import may_change, may_enter, may_read
from agentd.files.planted import PlantedError, not_in
from agentd.model.user import AgentUser


class NotRegularError(OSError):
    """The path leads to a folder, FIFO, socket or device."""


class TooLargeError(OSError):
    """The file holds more than the caller takes."""


class NotEntitledError(OSError):
    """The file is not for the account it would be read for."""


def without_mark(data: bytes) -> bytes:
    """Take away the byte order mark that some editors write before UTF-8.

    Not by the codec ``utf-8-sig``: that is imported late, from a package that may be gone or not for our user to read.
    """
    return data.removeprefix(codecs.BOM_UTF8)


def read_regular(
    path: Path,
    limit: int,
    account: AgentUser | None = None,
    places: Iterable[Path] = (),
    beneath: Path | None = None,
) -> bytes:
    """Read a regular file, following symlinks.

    Parameters
    ----------
    limit
        The most bytes to take.
    account
        Whom the content is handed to, if that is somebody with fewer rights than ours: then a path that this account
        could bend leads only to what it may read itself. A symlink in its workspace is no way to our files.
    places
        Folders that sandboxed agents may write: a path that enters one must not lead out of it.
    beneath
        A folder that the path begins with, below which no link is followed.

    Raises
    ------
    NotEntitledError
        If the account could have made the path lead to a file that it may not read.
    NotRegularError
        If it is anything else than a regular file.
    TooLargeError
        If it holds more than `limit` bytes.
    OSError
        If it cannot be opened or read.
    """
    with open_entitled(path, account, places, beneath) as file:
        return read_up_to(path, file, limit)


@contextmanager
def open_entitled(
    path: Path, account: AgentUser | None, places: Iterable[Path] = (), beneath: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a regular file to read it for an account; parameters and errors as for `read_regular`."""
    with open_regular(path, beneath) as file:
        if account is not None and not may_open(account, path, file.fileno()) and _could_bend(account, path):
            raise NotEntitledError(None, "leads, by way of what the agents' user may change, where it may not read")
        _require_inside(path, file.fileno(), places, account)
        yield file


@contextmanager
def open_regular(path: Path, beneath: Path | None = None) -> Iterator[BinaryIO]:
    """Open a regular file to read, following symlinks.

    Parameters
    ----------
    beneath
        A folder that the path begins with, below which none is followed.

    Raises
    ------
    NotRegularError
        If it is anything else than a regular file.
    OSError
        If it cannot be opened.
    """
    if beneath is not None:
        _require_regular(path, stat_beneath(beneath, path))
        descriptor = open_beneath(beneath, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            _require_regular(path, os.fstat(descriptor))
            yield file
        return
    _require_regular(path, path.stat())
    with open(path, "rb", opener=_open_without_blocking) as file:
        _require_regular(path, os.fstat(file.fileno()))
        yield file


def _open_without_blocking(path: str, flags: int) -> int:
    # The stat before tells what is there without touching it; a FIFO that takes its place since must not block either.
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _require_inside(path: Path, descriptor: int, places: Iterable[Path], account: AgentUser | None) -> None:
    """Refuse what a sandboxed agent may have had the path lead to; the open file is asked, so no race is lost."""
    try:
        followed(path, not_in(places, account))
    except PlantedError as error:
        if not inside(Path(os.readlink(f"/proc/self/fd/{descriptor}")), error.place):  # noqa: PTH115
            raise NotEntitledError(
                None, f"leads out of {error.place}, where a sandboxed agent may have put the link"
            ) from None


def _require_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise NotRegularError(None, "is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(None, "is not a regular file", str(path))


def read_up_to(path: Path, file: BinaryIO, limit: int) -> bytes:
    """Read an open file to its end.

    Raises
    ------
    TooLargeError
        If it holds more than `limit` bytes.
    OSError
        If it cannot be read.
    """
    data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLargeError(None, f"is larger than {limit} bytes", str(path))
    return data


def may_open(account: AgentUser, path: Path, descriptor: int) -> bool:
    """Whether an account could itself open, for reading, what we have opened by this path."""
    if not may_read(account, os.fstat(descriptor)):
        return False
    # Where it stands now; macOS has no /proc, and there the folders around it are not looked at.
    proc = Path(f"/proc/self/fd/{descriptor}")
    opened = proc.readlink() if proc.is_symlink() else path
    return all(_allows(may_enter, account, folder) for folder in opened.parents)


def _allows(rule: Callable[[AgentUser, os.stat_result], bool], account: AgentUser, path: Path) -> bool:
    try:
        return rule(account, path.lstat())
    except OSError:
        return False


def _could_bend(account: AgentUser, path: Path) -> bool:
    """Whether the account could change anything on the way that a path takes, symlinks and all, or at its end."""

    def look(step: Path, _entry: os.stat_result) -> None:
        if _allows(may_change, account, step.parent):
            raise PermissionError

    try:
        return _allows(may_change, account, followed(path, look))
    except OSError:
        # Also where the way is no longer the one by which it was opened.
        return True
