"""Output for people: tables and colour on a terminal, tab-separated lines elsewhere.

No control character from outside reaches a terminal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

from agentd.text.quoting import printable, visible

NOTHING = "-"
"""An empty cell, so that every line has the same number of fields."""

_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")

_CONTROL = re.compile(r"\x1b(?!\[[0-9;:]*m)|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]")
"""What a terminal acts on: C0 and C1 except tabs, and escape sequences except styles."""

BOLD = "1"
DIM = "2"
RED = "31"
GREEN = "32"
YELLOW = "33"
CYAN = "36"


class Cell(NamedTuple):
    """One field of a table."""

    text: str
    style: str = ""
    """Parameters of an SGR sequence; empty is none."""
    symbol: str = ""
    """Shown before the text in tables, if the terminal can show it."""


@dataclass(frozen=True, slots=True)
class Display:
    """What an output stream can show."""

    table: bool
    """Whether to align columns and show a heading: on a terminal."""
    colour: bool
    symbols: bool
    """Whether it takes characters beyond ASCII."""
    columns: int
    rows: int

    def paint(self, text: str, style: str) -> str:
        """Style text that is already harmless."""
        return f"\x1b[{style}m{text}\x1b[0m" if style and self.colour else text


def display_of(stream: TextIO, environ: Mapping[str, str]) -> Display:
    """Find out what a stream can show; ``NO_COLOR`` and ``TERM=dumb`` turn colour off.

    Parameters
    ----------
    stream
        Usually standard output.
    """
    terminal = stream.isatty()
    size = os.get_terminal_size(stream.fileno()) if terminal else os.terminal_size((80, 24))
    return Display(
        table=terminal,
        colour=terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb",
        symbols=stream.encoding.lower().replace("-", "") == "utf8",
        # A terminal of unknown size reports 0 by 0.
        columns=size.columns or 80,
        rows=size.lines or 24,
    )


def harmless(line: str) -> str:
    """Escape the control and invisible characters of a line; tabs and styles stay.

    Everything that agents control passes here on its way to the terminal: their output, and their tmux server's.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", visible(line))


def lines(heading: Sequence[str], rows: Sequence[Sequence[Cell]], display: Display) -> list[str]:
    """Lay out rows as text.

    On a terminal with a heading and padded columns. Elsewhere without heading, with one tab between fields, which
    contain none.

    Parameters
    ----------
    heading
        Titles of the columns.
    rows
        Cells of each row.
    """
    if not display.table:
        return ["\t".join(printable(cell.text) or NOTHING for cell in row) for row in rows]
    table = [[Cell(title, BOLD) for title in heading], *rows]
    texts = [list(heading), *([_shown(cell, display) for cell in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(
            display.paint(text, cell.style) + " " * (widest - width(text))
            for cell, text, widest in zip(row, row_texts, widths, strict=True)
        ).rstrip()
        for row, row_texts in zip(table, texts, strict=True)
    ]


def width(text: str) -> int:
    """Count the terminal columns of harmless text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 0 if combining(character) else 1 for character in text)


def cut(line: str, columns: int) -> str:
    """Cut a line, styles and all, to the columns of a terminal."""
    shown: list[str] = []
    left = columns
    for part in _STYLE.split(line):
        if part.startswith("\x1b"):
            shown.append(part)
            continue
        for character in part:
            left -= width(character)
            if left < 0:
                break
            shown.append(character)
    return "".join(shown)


def span(seconds: int) -> str:
    """Write seconds in their two largest units: ``2m05s``, ``3h07m``, ``4d02h``."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def plural(number: int, noun: str) -> str:
    """Write a number with a noun in singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(cell: Cell, display: Display) -> str:
    text = printable(cell.text) or NOTHING
    return f"{cell.symbol} {text}" if cell.symbol and display.symbols else text
