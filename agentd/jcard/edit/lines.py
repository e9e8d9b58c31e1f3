"""Find and edit lines of TOML text, and the comments that belong to them."""

from __future__ import annotations

import re
from typing import Final

_COMMENT: Final = re.compile(r"[ \t]*#[^\n]*")
_EDITOR_DIRECTIVE: Final = re.compile(r"[ \t]*#:")
"""Such as ``#:schema ./jcard.schema.json``, which applies to the whole file."""


def newline_of(text: str) -> str:
    """Give the line end of a text, as in its first line."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def line_start(text: str, offset: int) -> int:
    """Give the start of the line of an offset."""
    return text.rfind("\n", 0, offset) + 1


def line_end(text: str, offset: int) -> int:
    """Give the end of the line of an offset, line break included."""
    found = text.find("\n", offset)
    return len(text) if found < 0 else found + 1


def indent_of(text: str, offset: int) -> str:
    """Give the white space before an offset, if nothing else is before it on the line."""
    before = text[line_start(text, offset) : offset]
    return before if not before.strip(" \t") else ""


def comments_above(text: str, start: int, lowest: int = 0) -> int:
    """Give the start of the comment directly above a line, from the offset `lowest` on."""
    while start > lowest:
        above = line_start(text, start - 1)
        if above < lowest or not _COMMENT.match(text, above) or _EDITOR_DIRECTIVE.match(text, above):
            break
        start = above
    return start


def comments_below(text: str, end: int) -> int:
    """Give the end of the comment directly below a line, unless it is directly above something else."""
    below = end
    while below < len(text) and _COMMENT.match(text, below):
        below = line_end(text, below)
    return below if below == len(text) or is_blank(text, below) else end


def is_blank(text: str, start: int) -> bool:
    """Whether a blank line starts here."""
    return start < len(text) and not text[start : line_end(text, start)].strip()


def blank_above(text: str, start: int) -> bool:
    """Whether the line above is blank or missing."""
    return start == 0 or is_blank(text, line_start(text, start - 1))


def insert_line(text: str, offset: int, line: str) -> str:
    """Insert a line below the one of an offset; the text ends with a line break only if it did before."""
    end = line_end(text, offset)
    newline = newline_of(text)
    if text[:end].endswith("\n"):
        return f"{text[:end]}{line}{newline}{text[end:]}"
    return f"{text}{newline}{line}"


def cut_lines(text: str, start: int, end: int) -> str:
    """Remove whole lines; the text ends with a line break only if it did before."""
    rest = text[:start] + text[end:]
    return rest if text.endswith("\n") else rest.rstrip("\r\n")


def cut_block(text: str, start: int, end: int) -> str:
    """Remove whole lines and the blank lines that separate them, leaving one separation."""
    if blank_above(text, start):
        while is_blank(text, end):
            end = line_end(text, end)
    if end == len(text):
        while start and is_blank(text, line_start(text, start - 1)):
            start = line_start(text, start - 1)
    return cut_lines(text, start, end)
