"""What is shown: the conversation scrolls, and below it stand one row that says what goes on, and the line being typed.

The conversation has the terminal's upper rows as its scroll region, so that tmux keeps all of it in its history, and
where it stopped is kept as the terminal's saved cursor: between two writes the cursor is in the typed line. Pure: gives
what to write. What the agent said passes `harmless` on its way.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from agentd.harness.acp import BOX
from agentd.text.quoting import printable
from agentd.text.terminal import cut, width

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"

_BEGIN: Final = "\x1b[?2004h"
_END: Final = "\x1b[?2004l"
_BELOW: Final = 2
"""Rows below the conversation."""
_KEPT: Final = 500
"""Lines that are kept to be written again."""
_LONGEST_KEPT: Final = 20_000
"""Characters of the unfinished one."""
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


def harmless(text: str) -> str:
    """Escape all that a terminal acts on, but line breaks and tabs."""
    text = text.replace("\r", "")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


@dataclass(slots=True)
class Screen:
    """A terminal of so many rows and columns."""

    rows: int
    columns: int
    _kind: str = ""
    """What was printed last."""
    _fresh: bool = True
    """Whether what is printed next begins a row."""
    _status: str = ""
    _line: tuple[str, int] = "", 0
    _said: deque[str] = field(default_factory=lambda: deque([""], maxlen=_KEPT))
    """The last lines of the conversation, the last of them not finished."""

    def open(self) -> str:
        """Begin below what stands there."""
        return _BEGIN + self._region() + self._below()

    def close(self) -> str:
        """Give the whole screen back."""
        return f"\x1b[{self._last};1H\x1b[J\x1b[r\x1b[{self._last};1H{_END}"

    def resize(self, rows: int, columns: int) -> str:
        """Lay it out anew.

        tmux moves what stands there at once and tells us a quarter of a second later, so what was printed meanwhile is
        anywhere: the rows are emptied one by one, which leaves the history alone, and written again.
        """
        self.rows, self.columns = rows, columns
        emptied = "".join(f"\x1b[{row};1H\x1b[2K" for row in range(1, rows + 1))
        again, height = self._end()
        first = max(1, self._last - height + 1)
        return f"\x1b[r{emptied}\x1b[1;{self._last}r\x1b[{first};1H{again}\x1b7{self._below()}"

    def _end(self) -> tuple[str, int]:
        """Give the end of what was said that has room, and how many rows it takes."""
        lines: list[str] = []
        height = 0
        for line in reversed(self._said):
            tall = max(1, -(-width(_STYLE.sub("", line).expandtabs()) // self.columns))
            if lines and height + tall > self._last:
                break
            lines.insert(0, line)
            height += tall
        return "\n".join(lines), height

    @property
    def _last(self) -> int:
        """The last row of the conversation."""
        return max(2, self.rows - _BELOW)

    def _region(self) -> str:
        # Line breaks make room; setting the region moves the cursor.
        room = "\n" * _BELOW + f"\x1b[{_BELOW}A\r"
        return f"{room}\x1b7\x1b[1;{self._last}r\x1b8\x1b7"

    def say(self, kind: str, text: str, style: str = "") -> str:
        """Go on with what is being said; another kind begins a row."""
        if not text:
            return ""
        start = "" if self._fresh or kind == self._kind else "\n"
        shown = harmless(text)
        self._kind, self._fresh = kind, shown.endswith("\n")
        return self._print(start + _styled(shown, style))

    def row(self, text: str, style: str = "", mark: str = "") -> str:
        """Print rows of their own.

        Parameters
        ----------
        mark
            Stands before the first, ours.
        """
        start = "" if self._fresh else "\n"
        self._kind, self._fresh = "", True
        return self._print(f"{start}{mark}{_styled(harmless(text), style)}\n")

    def status(self, text: str) -> str:
        """Say what goes on, in the row below."""
        self._status = text
        return self._below()

    def typed(self, shown: str, at: int) -> str:
        """Show the line being typed, and the cursor in this column of it."""
        self._line = shown, at
        return self._below()

    @property
    def room(self) -> int:
        """Columns for the line being typed."""
        return max(1, self.columns - len(BOX))

    def _print(self, text: str) -> str:
        first, *others = text.split("\n")
        self._said[-1] += first
        self._said.extend(others)
        self._said[-1] = self._said[-1][-_LONGEST_KEPT:]
        return f"\x1b8{text}\x1b7{self._below()}"

    def _below(self) -> str:
        shown, at = self._line
        status = _styled(cut(printable(self._status), self.columns), DIM)
        first = self._last + 1
        line = f"\x1b[{first + 1};1H\x1b[2K{BOX}{printable(shown)}\x1b[{first + 1};{len(BOX) + at + 1}H"
        return f"\x1b[{first};1H\x1b[2K{status}{line}"


def title(text: str) -> str:
    """Name what goes on in the terminal's title."""
    return f"\x1b]2;{printable(text)}\x1b\\"


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and text else text
