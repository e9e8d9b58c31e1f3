"""Lines of TOML text: where they begin and end, and which comments belong to what."""

from __future__ import annotations

import re
from typing import Final

_COMMENT: Final = re.compile(r"[ \t]*#[^\n]*")
_EDITOR_DIRECTIVE: Final = re.compile(r"[ \t]*#:")
"""``#:schema ./jcard.schema.json`` and the like are about the whole file."""


def newline_of(text: str) -> str:
    """Tell the line end of a text by its first line."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def line_start(text: str, offset: int) -> int:
    """Where the line of an offset begins."""
    return text.rfind("\n", 0, offset) + 1


def line_end(text: str, offset: int) -> int:
    """Where the line of an offset ends, its line break included."""
    found = text.find("\n", offset)
    return len(text) if found < 0 else found + 1


def indent_of(text: str, offset: int) -> str:
    """Give the white space before what stands at an offset, if there is nothing else before it on its line."""
    before = text[line_start(text, offset) : offset]
    return before if not before.strip(" \t") else ""


def comments_above(text: str, start: int, lowest: int = 0) -> int:
    """Where the comment directly above a line begins: no blank line lies between."""
    while start > lowest:
        above = line_start(text, start - 1)
        if above < lowest or not _COMMENT.match(text, above) or _EDITOR_DIRECTIVE.match(text, above):
            break
        start = above
    return start


def comments_below(text: str, end: int) -> int:
    """Where the comment directly below a line ends; one that stands directly above something else belongs to that."""
    below = end
    while below < len(text) and _COMMENT.match(text, below):
        below = line_end(text, below)
    return below if below == len(text) or is_blank(text, below) else end


def is_blank(text: str, start: int) -> bool:
    """Whether the line that begins here is there, and empty."""
    return start < len(text) and not text[start : line_end(text, start)].strip()


def blank_above(text: str, start: int) -> bool:
    """Whether the line above the one that begins here is blank, or there is none."""
    return start == 0 or is_blank(text, line_start(text, start - 1))


def insert_line(text: str, offset: int, line: str) -> str:
    """Put a line below the one of an offset; a last line without line break leaves the new last line without one."""
    end = line_end(text, offset)
    newline = newline_of(text)
    if text[:end].endswith("\n"):
        return f"{text[:end]}{line}{newline}{text[end:]}"
    return f"{text}{newline}{line}"


def cut_lines(text: str, start: int, end: int) -> str:
    """Take out whole lines; what had no line break at its end still has none."""
    rest = text[:start] + text[end:]
    return rest if text.endswith("\n") else rest.rstrip("\r\n")


def cut_block(text: str, start: int, end: int) -> str:
    """Take out whole lines with the blank ones that set them off, so that one separation is left."""
    if blank_above(text, start):
        while is_blank(text, end):
            end = line_end(text, end)
    if end == len(text):
        while start and is_blank(text, line_start(text, start - 1)):
            start = line_start(text, start - 1)
    return cut_lines(text, start, end)
