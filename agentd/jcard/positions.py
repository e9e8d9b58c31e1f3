"""Find lines and columns in TOML text."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from agentd.jcard.scan import Path, scan

__all__ = ["Path", "Position", "Positions", "locate"]


class Position(NamedTuple):
    """A position in a text; both count from 1, the column in characters."""

    line: int
    column: int


class Positions:
    """An index of one TOML document."""

    def __init__(self, text: str) -> None:
        """Scan the whole text, which must be valid TOML."""
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        found = scan(text)
        self._keys = found.keys
        self._values = found.values

    def key(self, path: Path) -> Position:
        """Find a key, or the header of a table.

        A missing one has the position of the innermost table around it, or of the top of the text.
        """
        return self._at(self._keys, path)

    def value(self, path: Path) -> Position:
        """Find a value; for a table or array with a header, the header."""
        return self._at(self._values, path)

    def _at(self, offsets: dict[Path, int], path: Path) -> Position:
        while path and path not in offsets:
            path = path[:-1]
        offset = offsets[path] if path else 0
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)


def locate(text: str, path: Path) -> Position:
    """Find a key in valid TOML text; a missing one has the position of its table."""
    return Positions(text).key(path)
