"""Change TOML text and leave every other character as it is.

tomlkit as an editor was tried: it moves tables that are not adjacent, inserts a new key below the comment of the next
table, loses that comment when a table is removed, writes LF into CRLF files, and takes 300 ms to parse 300 agents. So
it only writes values and keys; `agentd.jcard.scan` finds their positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from agentd.jcard.edit.lines import (
    comments_above,
    comments_below,
    cut_block,
    cut_lines,
    indent_of,
    insert_line,
    is_blank,
    line_end,
    line_start,
    newline_of,
)
from agentd.jcard.edit.writing import TomlValue, write_key, write_pair, write_value
from agentd.jcard.scan import BLANK, Container, Header, Pair, Path, Scan, scan

_REST_OF_ENTRY: Final = re.compile(r"[ \t]*,?[ \t]*(?:#[^\n]*)?(?:\n|\r\n)")
"""What follows an element that has its lines for itself."""

_FIRST_KEY: Final = "name"
"""Inserted at the top of its table; all other keys at the end."""


def put(text: str, path: Path, value: TomlValue) -> str:
    """Set the value at a path of a valid document; only the last one or two parts may be missing."""
    found = scan(text)
    pair = found.pairs.get(path)
    if pair is not None:
        written = write_value(
            value,
            like=text[pair.value : pair.end],
            one_line=pair.owner in found.containers,
            newline=newline_of(text),
        )
        return text[: pair.value] + written + text[pair.end :]
    if path in found.keys:
        found = scan(take_out(text, path))
    return _insert(found, path, value)


def take_out(text: str, path: Path) -> str:
    """Remove everything at a path of a valid document: pairs, dotted keys, tables.

    The comment directly above a table's header is removed too. One above a key stays: it may be about the keys below.
    """
    found = scan(text)
    # From the end of the text, scanned again each time. Counted, since the next item of an array takes over the path.
    for _ in range(len(_pieces(found, path))):
        found = scan(text)
        piece = _pieces(found, path)[-1]
        if isinstance(piece, Header):
            text = _cut_table(found, piece)
        elif piece.owner in found.containers:
            text = _cut_entry(text, found.containers[piece.owner], piece)
        else:
            text = cut_lines(text, line_start(text, piece.start), line_end(text, piece.end))
    return text


def add_item(text: str, array: str, fields: Mapping[str, TomlValue]) -> str:
    """Append a table to a top-level array of tables of a valid document.

    A field that is a table is written with dotted keys.
    """
    found = scan(text)
    pairs = [pair for key, value in fields.items() for pair in _pairs((key,), value)]
    if (array,) in found.containers:
        entry = ", ".join(write_pair(key, value) for key, value in pairs)
        return _append_entry(text, found.containers[array,], f"{{ {entry} }}")
    newline = newline_of(text)
    written = [f"{write_key(key)} = {write_value(value, newline=newline)}" for key, value in pairs]
    block = "".join(f"{line}{newline}" for line in [f"[[{write_key((array,))}]]", *written])
    tables = [header for header in found.headers if header.path[0] == array]
    # After tables inside the last item too: they would belong to the new one.
    place = comments_below(text, _end_of_body(found, tables[-1])) if tables else len(text)
    return _insert_block(text, place, block)


def _insert_block(text: str, place: int, block: str) -> str:
    newline = newline_of(text)
    before, after = text[:place], text[place:]
    if before and not before.endswith("\n"):
        before, block = before + newline, block.removesuffix(newline)
    if before and not is_blank(before, line_start(before, len(before) - 1)):
        before += newline
    if after and not is_blank(text, place):
        after = newline + after
    return before + block + after


def _pairs(key: tuple[str, ...], value: TomlValue) -> list[tuple[tuple[str, ...], TomlValue]]:
    if isinstance(value, Mapping) and value:
        return [pair for part, item in value.items() for pair in _pairs((*key, part), item)]
    return [(key, value)]


def _insert(found: Scan, path: Path, value: TomlValue) -> str:
    """Add a key to the innermost existing table around it; a dotted key if more than one part is missing."""
    text = found.text
    headers = {header.path: header for header in found.headers}
    for known in range(len(path) - 1, 0, -1):
        place = path[:known]
        if place in found.containers:
            return _insert_entry(found, place, path, value)
        if place in headers:
            return _insert_in_body(found, headers[place], path, value)
        dotted = [pair for pair in found.pairs.values() if pair.path[:known] == place and len(pair.owner) < known]
        if dotted and dotted[-1].owner in found.containers:
            return _insert_entry(found, dotted[-1].owner, path, value)
        if dotted:
            last = dotted[-1]
            return _insert_pair(text, last.end, indent_of(text, last.start), path[len(last.owner) :], value)
    first = line_start(text, found.headers[0].start) if found.headers else len(text)
    line = f"{write_key(_key(path))} = {write_value(value)}{newline_of(text)}"
    return text[:first] + line + text[first:]


def _insert_entry(found: Scan, owner: Path, path: Path, value: TomlValue) -> str:
    return _append_entry(found.text, found.containers[owner], write_pair(_key(path[len(owner) :]), value))


def _insert_in_body(found: Scan, header: Header, path: Path, value: TomlValue) -> str:
    text = found.text
    body = [pair for pair in found.pairs.values() if pair.owner == header.path]
    key = path[len(header.path) :]
    end = header.end if not body or key == (_FIRST_KEY,) else body[-1].end
    nearest = header.start if not body else body[-1].start
    return _insert_pair(text, end, indent_of(text, nearest), key, value)


def _insert_pair(text: str, behind: int, indent: str, key: Path, value: TomlValue) -> str:
    written = write_value(value, newline=newline_of(text))
    return insert_line(text, behind, f"{indent}{write_key(_key(key))} = {written}")


def _key(path: Path) -> list[str]:
    assert all(isinstance(part, str) for part in path), "an array has its items before anything is added to them"
    return [str(part) for part in path]


def _pieces(found: Scan, path: Path) -> list[Header | Pair]:
    """Find everything at or below a path in the order of the text, without pairs inside others."""
    depth = len(path)
    pieces: list[Header | Pair] = [
        *(header for header in found.headers if header.path[:depth] == path),
        *(pair for pair in found.pairs.values() if pair.path[:depth] == path and len(pair.owner) < depth),
    ]
    return sorted(pieces, key=lambda piece: piece.start)


def _end_of_body(found: Scan, header: Header) -> int:
    """Give the end of a table's last line, without comments that follow."""
    later = [other.start for other in found.headers if other.start > header.start]
    limit = min(later, default=len(found.text))
    ends = [pair.end for pair in found.pairs.values() if header.start < pair.start < limit]
    return line_end(found.text, max(ends, default=header.end))


def _cut_table(found: Scan, header: Header) -> str:
    text = found.text
    start = comments_above(text, line_start(text, header.start))
    return cut_block(text, start, comments_below(text, _end_of_body(found, header)))


def _append_entry(text: str, container: Container, entry: str) -> str:
    """Append to an array or inline table in its layout."""
    inside_end = container.end - 1
    if not container.entries:
        inside = text[container.start + 1 : inside_end]
        if inside.strip():
            return text[:inside_end] + entry + text[inside_end:]
        written = entry if container.is_array else f" {entry} "
        return text[: container.start + 1] + written + text[inside_end:]
    first, last = container.entries[0], container.entries[-1]
    comma = _comma_behind(text, last.end)
    behind = last.end if comma is None else comma + 1
    separation = "," if comma is None else ""
    if not container.is_array or "\n" not in text[container.start : first.start]:
        trailing = "" if comma is None else ","
        return f"{text[:behind]}{separation} {entry}{trailing}{text[behind:]}"
    line = newline_of(text) + (indent_of(text, last.start) or indent_of(text, first.start)) + entry
    break_ = text.find("\n", behind, inside_end)
    if break_ < 0:
        return f"{text[:behind]}{separation}{line}{text[behind:]}"
    # A comment after the last element stays there.
    rest = text[behind:break_].removesuffix("\r")
    trailing = "" if comma is None else ","
    return f"{text[: last.end]}{text[last.end : behind]}{separation}{rest}{line}{trailing}{text[behind + len(rest) :]}"


def _cut_entry(text: str, container: Container, entry: Pair) -> str:
    """Remove one element or pair of an array or inline table, with its comma."""
    index = next(i for i, other in enumerate(container.entries) if other is entry)
    own_line = line_start(text, entry.start)
    rest = _REST_OF_ENTRY.match(text, entry.end)
    if rest is not None and own_line > container.start and not text[own_line : entry.start].strip():
        lowest = line_end(text, container.start)
        return text[: comments_above(text, own_line, lowest)] + text[rest.end() :]
    start, end = entry.start, entry.end
    comma = _comma_behind(text, entry.end)
    entries: Sequence[Pair] = container.entries
    if index + 1 < len(entries) and "\n" not in text[end : entries[index + 1].start]:
        end = entries[index + 1].start
    elif comma is None and index and "\n" not in text[entries[index - 1].end : start]:
        start = entries[index - 1].end
    elif comma is not None:
        end = comma + 1
    if (
        len(entries) == 1
        and not text[container.start + 1 : start].strip()
        and not text[end : container.end - 1].strip()
    ):
        start, end = container.start + 1, container.end - 1
    return text[:start] + text[end:]


def _comma_behind(text: str, end: int) -> int | None:
    blank = BLANK.match(text, end)
    position = end if blank is None else blank.end()
    return position if text.startswith(",", position) else None
