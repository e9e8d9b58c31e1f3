"""Find headers, keys and values in TOML text: tomllib gives no positions.

The text must be valid TOML, as tomllib accepts it; nothing is checked.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Final

Path = tuple[str | int, ...]
"""Keys and array indexes from the top of the document: ``("agents", 2, "restart")``."""

BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
"""White space and comments."""

_KEY_PART: Final = re.compile(r"""[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|(?P<quoted>"(?:[^"\\]++|\\.)*+"|'[^']*+'))[ \t]*""")
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


@dataclass(frozen=True, slots=True)
class Header:
    """``[table]`` or ``[[table]]``."""

    path: Path
    """Path of the table; of the item for ``[[table]]``."""
    start: int
    end: int


@dataclass(slots=True)
class Pair:
    """``key = value``, or an element of an array."""

    owner: Path
    """Path of the table, inline table or array it is written in; a dotted key leads deeper."""
    path: Path
    start: int
    """Offset of the key; of the value for an element."""
    value: int
    """Offset of the value."""
    end: int = -1


@dataclass(slots=True)
class Container:
    """An array or inline table."""

    path: Path
    is_array: bool
    start: int
    """Offset of its bracket."""
    end: int = -1
    entries: list[Pair] = field(default_factory=list)


@dataclass(slots=True)
class Scan:
    """All that was found. Offsets count characters; each ``end`` is exclusive."""

    text: str
    headers: list[Header] = field(default_factory=list)
    pairs: dict[Path, Pair] = field(default_factory=dict)
    """All key-value pairs and elements, nested ones too, in the order of the text."""
    containers: dict[Path, Container] = field(default_factory=dict)
    keys: dict[Path, int] = field(default_factory=dict)
    """Offset of each path's key; of the header for a table in brackets."""
    values: dict[Path, int] = field(default_factory=dict)
    lengths: dict[Path, int] = field(default_factory=dict)
    """Lengths of the arrays of tables, by path."""

    def document(self) -> None:
        """Scan the whole text."""
        table: Path = ()
        position = self._skip(BLANK, 0)
        while position < len(self.text):
            if self.text[position] == "[":
                table, position = self._header(position)
            else:
                position = self._key_and_value(position, table)
            position = self._skip(BLANK, position)

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
        # The table's own header wins over an earlier one of a table inside it.
        self.keys[path] = self.values[path] = start
        end += 2 if is_array else 1
        self.headers.append(Header(path, start, end))
        return path, end

    def _key(self, position: int) -> tuple[list[tuple[str, int]], int]:
        """Scan a dotted key: its parts with their offsets, and its end."""
        parts: list[tuple[str, int]] = []
        while True:
            match = _KEY_PART.match(self.text, position)
            if match is None:
                raise ValueError(f"not a TOML key at offset {position}")
            if (bare := match["bare"]) is not None:
                parts.append((bare, match.start("bare")))
            else:
                parts.append((_unquote(match["quoted"]), match.start("quoted")))
            position = match.end()
            if not self.text.startswith(".", position):
                return parts, position
            position += 1

    def _key_and_value(self, position: int, table: Path) -> int:
        """Scan ``key = value``, with all that is nested in the value."""
        nesting: list[Container] = []
        position = self._begin_pair(position, table, nesting)
        while nesting:
            innermost = nesting[-1]
            position = self._skip(_BLANK_OR_COMMA, position)
            if self.text.startswith(("]", "}"), position):
                nesting.pop()
                position += 1
                innermost.end = self.pairs[innermost.path].end = position
            elif innermost.is_array:
                path = (*innermost.path, len(innermost.entries))
                self._note(path, position, position)
                position = self._begin_value(Pair(innermost.path, path, position, position), nesting)
            else:
                position = self._begin_pair(position, innermost.path, nesting)
        return position

    def _begin_pair(self, position: int, owner: Path, nesting: list[Container]) -> int:
        parts, end = self._key(position)
        value = self._skip(BLANK, end + 1)
        path = owner
        for part, offset in parts:
            path = (*path, part)
            self._note(path, offset, value)
        return self._begin_value(Pair(owner, path, parts[0][1], value), nesting)

    def _begin_value(self, pair: Pair, nesting: list[Container]) -> int:
        if nesting:
            nesting[-1].entries.append(pair)
        self.pairs[pair.path] = pair
        if self.text.startswith(("[", "{"), pair.value):
            container = Container(pair.path, self.text[pair.value] == "[", pair.value)
            self.containers[pair.path] = container
            nesting.append(container)
            return pair.value + 1
        pair.end = self._skip(_SCALAR, pair.value)
        if pair.end == pair.value:
            raise ValueError(f"not a TOML value at offset {pair.value}")
        return pair.end

    def _note(self, path: Path, key: int, value: int) -> None:
        """Record the first position of a path: a table may be continued later."""
        self.keys.setdefault(path, key)
        self.values.setdefault(path, value)


def scan(text: str) -> Scan:
    """Scan a whole document, which must be valid TOML."""
    found = Scan(text)
    found.document()
    return found


def _unquote(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted[1:-1]
    [key] = tomllib.loads(f"{quoted} = 0")
    return key
