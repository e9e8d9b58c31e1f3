"""Where things stand in TOML text, which tomllib does not say.

A scanner for text that tomllib has already accepted: it finds keys, values and headers, and judges nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, NamedTuple

Path = tuple[str | int, ...]
"""Keys and array indexes from the top of the document: ``("agents", 2, "restart")``."""

_KEY_PART: Final = re.compile(r"""[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|(?P<quoted>"(?:[^"\\]++|\\.)*+"|'[^']*+'))[ \t]*""")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_BLANK_OR_COMMA: Final = re.compile(r"(?:[ \t\r\n,]++|#[^\n]*+)*+")
# Not possessive around the lookaheads: Python 3.11.2 (Debian 12) then misreads multi-line strings.
_SCALAR: Final = re.compile(
    r'''
      """(?:[^"\\]++|\\.|"(?!""))*"{3,5}
    | \'\'\'(?:[^']++|'(?!''))*'{3,5}
    | "(?:[^"\\]++|\\.)*+"
    | '[^']*+'
    | [^\s,\]}\#]++(?:[ ]\d\d:[^\s,\]}\#]++)?+
    ''',
    re.DOTALL | re.VERBOSE,
)


class Position(NamedTuple):
    """A place in a text, both from 1; the column counts characters."""

    line: int
    column: int


class Positions:
    """An index of one TOML document."""

    def __init__(self, text: str) -> None:
        """Scan the whole text, which must be valid TOML."""
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        scan = _Scan(text)
        scan.document()
        self._keys = scan.keys
        self._values = scan.values

    def key(self, path: Path) -> Position:
        """Find a key, or the header of a table.

        What is not there is placed at the innermost table around it that is, and at last at the top of the text.
        """
        return self._at(self._keys, path)

    def value(self, path: Path) -> Position:
        """Find a value; of a table or array with a header of its own, the header."""
        return self._at(self._values, path)

    def _at(self, offsets: dict[Path, int], path: Path) -> Position:
        while path and path not in offsets:
            path = path[:-1]
        offset = offsets[path] if path else 0
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)


def locate(text: str, path: Path) -> Position:
    """Find a key in valid TOML text; a missing one is placed at the header of its table."""
    return Positions(text).key(path)


@dataclass(slots=True)
class _Container:
    """An array or inline table whose end has not been reached."""

    path: Path
    is_array: bool
    length: int = 0


@dataclass(slots=True)
class _Scan:
    text: str
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)
    lengths: dict[Path, int] = field(default_factory=dict)
    """Of arrays of tables, by the path of the array."""

    def document(self) -> None:
        table: Path = ()
        position = self._skip(_BLANK, 0)
        while position < len(self.text):
            if self.text[position] == "[":
                table, position = self._header(position)
            else:
                position = self._key_and_value(position, table)
            position = self._skip(_BLANK, position)

    def _skip(self, pattern: re.Pattern[str], position: int) -> int:
        match = pattern.match(self.text, position)
        return match.end() if match is not None else position

    def _header(self, start: int) -> tuple[Path, int]:
        is_array = self.text.startswith("[[", start)
        parts, end = self._key(start + (2 if is_array else 1))
        path: Path = ()
        for index, (part, _) in enumerate(parts):
            path = (*path, part)
            is_new_item = is_array and index == len(parts) - 1
            if is_new_item:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            self._note(path, start, start)
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
                self._note(path, start, start)
        # A header of the table's own outdoes one of a table inside it that came earlier.
        self.keys[path] = self.values[path] = start
        return path, end + (2 if is_array else 1)

    def _key(self, position: int) -> tuple[list[tuple[str, int]], int]:
        """Read a dotted key: its parts with their offsets, and where it ends."""
        parts: list[tuple[str, int]] = []
        while True:
            match = _KEY_PART.match(self.text, position)
            if match is None:
                msg = f"not a TOML key at offset {position}"
                raise ValueError(msg)
            if (bare := match["bare"]) is not None:
                parts.append((bare, match.start("bare")))
            else:
                parts.append((_unquote(match["quoted"]), match.start("quoted")))
            position = match.end()
            if not self.text.startswith(".", position):
                return parts, position
            position += 1

    def _key_and_value(self, position: int, table: Path) -> int:
        """Read ``key = value``, whatever is nested in the value."""
        open_containers: list[_Container] = []
        position = self._begin_pair(position, table, open_containers)
        while open_containers:
            innermost = open_containers[-1]
            position = self._skip(_BLANK_OR_COMMA, position)
            if self.text.startswith(("]", "}"), position):
                open_containers.pop()
                position += 1
            elif innermost.is_array:
                path = (*innermost.path, innermost.length)
                innermost.length += 1
                self._note(path, position, position)
                position = self._begin_value(position, path, open_containers)
            else:
                position = self._begin_pair(position, innermost.path, open_containers)
        return position

    def _begin_pair(self, position: int, table: Path, open_containers: list[_Container]) -> int:
        parts, end = self._key(position)
        value = self._skip(_BLANK, end + 1)
        path = table
        for part, offset in parts:
            path = (*path, part)
            self._note(path, offset, value)
        return self._begin_value(value, path, open_containers)

    def _begin_value(self, position: int, path: Path, open_containers: list[_Container]) -> int:
        if self.text.startswith(("[", "{"), position):
            open_containers.append(_Container(path, is_array=self.text[position] == "["))
            return position + 1
        end = self._skip(_SCALAR, position)
        if end == position:
            msg = f"not a TOML value at offset {position}"
            raise ValueError(msg)
        return end

    def _note(self, path: Path, key: int, value: int) -> None:
        """Remember the first place of a path: a table may be added to later."""
        self.keys.setdefault(path, key)
        self.values.setdefault(path, value)


def _unquote(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted[1:-1]
    [key] = tomllib.loads(f"{quoted} = 0")
    return key
