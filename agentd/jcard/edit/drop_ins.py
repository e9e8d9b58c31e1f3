"""Write, renew and remove whole drop-ins, by programs that declare agents.

Whoever may write in the folder around may put a symlink in the place of an owner's folder, so that is not followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentd.files.replacing import Replacement, open_entry
from agentd.jcard.edit.writing import TomlValue, write_key, write_pair


def drop_in_text(comment: str, tables: Mapping[str, Mapping[str, TomlValue]]) -> str:
    """Write a drop-in.

    Parameters
    ----------
    comment
        The first line.
    tables
        By name, in order.
    """
    lines = [f"# {comment}"]
    for name, table in tables.items():
        lines += [f"[{write_key((name,))}]", *(write_pair((field,), value) for field, value in table.items()), ""]
    return "\n".join(lines)


def write_drop_in(path: Path, text: str) -> None:
    """Put a drop-in in its place, with its folder; one of the same content is only renewed.

    Raises
    ------
    OSError
        If that is not possible.
    """
    content = text.encode()
    # What is in the way is told by opening it.
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _owners_folder(path) as folder:
        if not _renewed(path.name, content, folder):
            Replacement(path, content, folder).take_place()


def renew_drop_in(path: Path) -> None:
    """Renew the lease of a drop-in.

    Raises
    ------
    OSError
        If that is not possible.
    """
    with _owners_folder(path) as folder:
        os.utime(path.name, dir_fd=folder, follow_symlinks=False)


def remove_drop_in(path: Path) -> None:
    """Remove a drop-in; none is no error.

    Raises
    ------
    OSError
        If that is not possible.
    """
    with contextlib.suppress(FileNotFoundError), _owners_folder(path) as folder:
        os.unlink(path.name, dir_fd=folder)


@contextlib.contextmanager
def _owners_folder(path: Path) -> Iterator[int]:
    """Open the folder of a drop-in: by a symlink in its place, one owner's agents would become another's."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        reason = f"{path.parent} is no folder itself, and no symlink is followed there"
        raise NotADirectoryError(errno.ENOTDIR, reason) from error
    try:
        yield folder
    finally:
        os.close(folder)


def _renewed(name: str, content: bytes, folder: int) -> bool:
    try:
        descriptor = open_entry(folder, name)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        same = file.read(len(content) + 1) == content
        if same:
            os.utime(descriptor)
    return same
