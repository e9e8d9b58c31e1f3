"""Rows of a terminal with their styles, read from what ``tmux capture-pane -e -p`` prints.

That is text whose only escape sequences set a style (SGR), so no terminal is emulated here. A style lasts until the
next one, over the ends of rows too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

DEFAULT = "default"
"""The terminal's own colour."""

_TOKENS = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]*)m"
    # Newer releases of tmux print hyperlinks, and switch to line-drawing characters and back.
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-9;:?]*[ -/]*[@-~]?|\x1b.?|[\x00-\x09\x0b-\x1f\x7f]"
    r"|(?P<end>\n)"
    r"|(?P<text>[^\x00-\x1f\x7f]+)"
)
_LARGEST = 1_000_000
"""Characters; a terminal of 500 rows and 500 columns, each with a style of its own, stays below."""
_ATTRIBUTES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 5: "blink", 7: "reverse", 8: "hidden", 9: "strike"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 25: ("blink",), 27: ("reverse",), 28: ("hidden",)}
_ENDS[29] = ("strike",)
_COLOURS = {39: DEFAULT, **{30 + n: str(n) for n in range(8)}, **{90 + n: str(8 + n) for n in range(8)}}
_EXTENDED = 38
_BACKGROUND = 10
"""What is added to a foreground colour's parameter for the background."""


class Style(NamedTuple):
    """How characters are drawn."""

    fg: str = DEFAULT
    """``default``, a number of the 256-colour palette, or ``#rrggbb``."""
    bg: str = DEFAULT
    attributes: frozenset[str] = frozenset()
    """Of ``bold``, ``dim``, ``italic``, ``underline``, ``blink``, ``reverse``, ``hidden``, ``strike``."""


PLAIN = Style()


class Run(NamedTuple):
    """Characters of one style."""

    start: int
    """Offset in the row's text."""
    end: int
    style: Style


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the screen, without the blanks at its end."""

    text: str
    runs: tuple[Run, ...] = field(default=(), repr=False)

    def styles(self, start: int, end: int) -> list[Style]:
        """Give the styles of the characters between two offsets; those of blanks only where there is nothing else."""
        runs = [run for run in self.runs if run.start < end and start < run.end]
        inked = [run for run in runs if self.text[max(run.start, start) : min(run.end, end)].strip()]
        return [run.style for run in inked or runs]


def read_rows(ansi: str) -> tuple[Row, ...]:
    """Read a captured screen, blank rows at its end left out.

    Parameters
    ----------
    ansi
        What ``tmux capture-pane -e -p`` printed. Escape sequences that do not set a style are skipped.
    """
    rows: list[Row] = []
    style, text, runs = PLAIN, "", list[Run]()
    for token in _TOKENS.finditer(ansi[:_LARGEST]):
        kind = token.lastgroup
        if kind == "sgr":
            style = _restyled(style, token["sgr"])
        elif kind == "text":
            start = len(text)
            text += token["text"]
            runs.append(Run(start, len(text), style))
        elif kind == "end":
            rows.append(Row(text.rstrip(" "), tuple(runs)))
            text, runs = "", []
    rows.append(Row(text.rstrip(" "), tuple(runs)))
    while rows and not rows[-1].text:
        rows.pop()
    return tuple(rows)


@lru_cache(maxsize=4096)
def _restyled(style: Style, parameters: str) -> Style:
    """Apply one SGR sequence; what is not known changes nothing."""
    numbers = [int(part) if part.isdecimal() else 0 for part in re.split("[;:]", parameters)]
    while numbers:
        number = numbers.pop(0)
        if number == 0:
            style = PLAIN
        elif number in _ATTRIBUTES:
            style = style._replace(attributes=style.attributes | {_ATTRIBUTES[number]})
        elif number in _ENDS:
            style = style._replace(attributes=style.attributes.difference(_ENDS[number]))
        elif number in _COLOURS:
            style = style._replace(fg=_COLOURS[number])
        elif number - _BACKGROUND in _COLOURS:
            style = style._replace(bg=_COLOURS[number - _BACKGROUND])
        elif number == _EXTENDED:
            style = style._replace(fg=_extended(numbers))
        elif number == _EXTENDED + _BACKGROUND:
            style = style._replace(bg=_extended(numbers))
    return style


def _extended(rest: list[int]) -> str:
    """Name a colour of the palette or a mixed one, and take its numbers from ``rest``."""
    form, rest[:1] = rest[:1], []
    if form == [5]:
        index, rest[:1] = rest[:1], []
        return str(index[0]) if index else DEFAULT
    red_green_blue, rest[:3] = rest[:3], []
    return "#" + "".join(f"{part & 255:02x}" for part in red_green_blue)
