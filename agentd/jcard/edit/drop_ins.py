"""Write and remove whole drop-ins, by programs that declare agents."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from agentd.files.replacing import Replacement
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
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            os.utime(path)
            return
    Replacement(path, content).take_place()
