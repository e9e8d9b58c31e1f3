"""The screen of a terminal, whose lines are handed out as they leave it, as tmux does it.

pyte keeps the cells. What it does not know is here: the scrollback, lines that only the width broke, the alternate
screen, and what tmux makes of all that when the terminal gets another size.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyte
from pyte import modes
from pyte.screens import Char, Cursor
from wcwidth import wcwidth

from agentd.recording.transcripts.reflow import SEEN, SHOWN, WRAPPED, Line, note, reflow, text_of, wraps

_LONGEST_CELL = 16
"""Characters in one cell: a letter with what is combined with it."""
_TAB = 8
_MOST_HISTORY = 300
"""Rows above the screen that a larger terminal may show again; one of 200 columns takes 10 KB."""
_LINE_DRAWING = str.maketrans("`afgjklmnopqrstuvwxyz{|}~", "◆▒°±┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")


@dataclass(frozen=True, slots=True)
class _Main:
    """The main screen while the alternate one is shown."""

    lines: Mapping[int, Line]
    cursor: Cursor
    columns: int
    rows: int
    partial: str


class Screen(pyte.Screen):
    """A screen that hands out the lines that leave it, and that knows the alternate screen."""

    def __init__(self, columns: int, rows: int) -> None:
        self._scrolled: list[str] = []
        self._partial = ""
        self._history: deque[Line] = deque(maxlen=_MOST_HISTORY)
        self._can_return = 0
        """Rows of the history that a higher terminal shows again: none that was above when the screen was cleared."""
        self._main: _Main | None = None
        self._left_at: Cursor | None = None
        self.moves_about = False
        self.line_drawing = False
        self._last_drawn = " "
        super().__init__(columns, rows)

    # -- lines that leave the screen

    def take_scrolled(self) -> list[str]:
        """Give the lines that left the screen since the last time."""
        lines, self._scrolled = self._scrolled, []
        return lines

    def _give(self, line: Line) -> None:
        """Give a line that scrolls off, joined with those before it that only the width of the terminal broke."""
        text = self._partial + text_of(line, self.columns)
        self._history.append(line)
        if wraps(line, self.columns):
            self._partial = text
            return
        self._partial, text = "", text.rstrip()
        if note(line, SHOWN) != text:
            line[SHOWN] = Char(text)
            self._scrolled.append(text)

    def _whole(self, rows: int) -> Iterator[tuple[Line, str]]:
        """The first so many rows, joined where only the width broke them; each with the last one of its lines."""
        partial = self._partial
        for y in range(rows):
            line = self.buffer[y]
            text = partial + text_of(line, self.columns)
            partial = text if wraps(line, self.columns) else ""
            if not partial or y == rows - 1:
                yield line, text.rstrip()

    def _give_rows(self, rows: Iterator[tuple[Line, str]]) -> None:
        """Give what was not given yet of these, without blank lines at the end."""
        given = list(rows)
        while given and not given[-1][1]:
            given.pop()
        for line, text in given:
            if note(line, SHOWN) != text:
                line[SHOWN] = Char(text)
                self._scrolled.append(text)

    def _give_screen(self) -> None:
        """Give what the screen shows and was not given yet; all of it is about to go."""
        rows = max(self.buffer, default=-1) + 1
        self._give_rows(self._whole(rows))
        self._partial = ""
        if self._main is None:
            self._history.extend(self.buffer[y] for y in range(rows))
            self._can_return = 0

    def rest(self) -> list[str]:
        """Give what is shown, as far as it was not given yet."""
        if self._main is not None:
            self._leave(self._main, goes_on=False)
        self._give_screen()
        self.buffer.clear()
        self.cursor.x = self.cursor.y = 0
        return self.take_scrolled()

    def settled(self) -> Iterator[str]:
        """Give lines above the cursor that nothing is likely to change any more."""
        if self._main is not None:
            return
        for line, text in self._whole(min(self.cursor.y, self.lines)):
            shown = note(line, SHOWN)
            if wraps(line, self.columns) or shown == text or (shown is not None and not text):
                continue
            if not self.moves_about or note(line, SEEN) == text:
                line[SHOWN] = Char(text)
                yield text
            else:
                line[SEEN] = Char(text)

    def index(self) -> None:
        """Move down a row; at the bottom the top row leaves the screen."""
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and self._main is None:
            self._give(self.buffer[top])
            self._can_return += 1
        super().index()

    def alternate(self, *, on: bool) -> None:
        """Show the alternate screen, or the main one again."""
        if on and self._main is None:
            cursor = Cursor(self.cursor.x, self.cursor.y, self.cursor.attrs)
            self._main = _Main(dict(self.buffer), cursor, self.columns, self.lines, self._partial)
            self.buffer.clear()
            self._partial = ""
        elif not on and self._main is not None:
            self._leave(self._main, goes_on=True)
            self._left_at = Cursor(self.cursor.x, self.cursor.y, self.cursor.attrs)
        elif not on and self._left_at is not None:
            # As tmux does, also where the main screen is shown already.
            self.cursor.x, self.cursor.y = self._left_at.x, min(self._left_at.y, self.lines - 1)

    def _leave(self, main: _Main, *, goes_on: bool) -> None:
        """Give what the program covered, then what it showed last, and show again what it covered."""
        shown, columns, rows = dict(self.buffer), self.columns, self.lines
        self._main, self._partial = None, main.partial
        self._show(main.lines, main.columns, main.rows)
        self.cursor = main.cursor
        # The line that the cursor stands in may go on, and is given once it is whole.
        last = self.cursor.y if goes_on else max(self.buffer, default=-1) + 1
        self._give_rows(each for each in self._whole(last) if not (goes_on and wraps(each[0], self.columns)))
        self._show(shown, columns, rows)
        self._partial = ""
        self._give_rows(self._whole(max(self.buffer, default=-1) + 1))
        self._show(main.lines, main.columns, main.rows)
        self._partial = main.partial
        self.change_size(columns, rows)
        self.cursor.x = min(self.cursor.x, columns - 1)

    def _show(self, lines: Mapping[int, Line], columns: int, rows: int) -> None:
        self.buffer.clear()
        self.buffer.update(lines)
        self.columns, self.lines = columns, rows

    # -- another size

    def change_size(self, columns: int, rows: int) -> None:
        """Do what tmux does when the terminal gets another size: first the height, then the width."""
        if rows != self.lines:
            self._change_height(rows)
        if columns != self.columns:
            if self._main is None:
                self._change_width(columns)
            self.columns = columns
            self.tabstops = set(range(_TAB, columns, _TAB))
        self.margins = None
        self.cursor.x = min(self.cursor.x, columns)
        self.cursor.y = max(0, min(self.cursor.y, rows - 1))

    def _change_height(self, rows: int) -> None:
        lines = [self.buffer[y] for y in range(self.lines)]
        if rows < self.lines:
            # What is below the cursor goes first, for good; then what is on top, into the history.
            below = min(self.lines - rows, self.lines - 1 - self.cursor.y)
            del lines[self.lines - below :]
            above = len(lines) - rows
            if self._main is None:
                for line in lines[:above]:
                    self._give(line)
                self._can_return += above
            del lines[:above]
            self.cursor.y -= above
        elif self._main is None:
            back = min(rows - self.lines, self._can_return, len(self._history))
            self._can_return -= back
            lines[:0] = reversed([self._history.pop() for _ in range(back)])
            self.cursor.y += back
            self._partial = self._unfinished()
        self._set_rows(lines)
        self.lines = rows

    def _set_rows(self, lines: Sequence[Line]) -> None:
        self.buffer.clear()
        self.buffer.update(enumerate(lines))

    def _unfinished(self) -> str:
        """The end of the history, as far as it goes on in the screen's first row."""
        texts: list[str] = []
        for line in reversed(self._history):
            if not wraps(line, self.columns):
                break
            texts.append(text_of(line, self.columns))
        return "".join(reversed(texts))

    def _change_width(self, columns: int) -> None:
        """Break all lines anew; the last rows are the screen's, and what is above was given or is given now."""
        rows = [*self._history, *(self.buffer[y] for y in range(self.lines))]
        at = len(self._history) + self.cursor.y
        broken, y, self.cursor.x = reflow(rows, self.columns, columns, (at, self.cursor.x), above=len(self._history))
        above = max(0, len(broken) - self.lines)
        self._history.clear()
        self._partial = ""
        self.columns = columns
        for line in broken[:above]:
            self._give(line)
        self._can_return = min(self._can_return, above)
        self._set_rows(broken[above:])
        if y < above:
            self.cursor.x = 0
        self.cursor.y = max(0, y - above)

    def erase_in_display(self, how: int = 0, *_: object, **__: object) -> None:
        """Clear the screen or a part of it."""
        everything = how == 2 or (how == 0 and self.cursor.x == self.cursor.y == 0)  # noqa: PLR2004 (ED's number)
        if everything:
            if self._main is None:
                # As tmux does: what is cleared goes into the scrollback.
                self._give_screen()
            self.buffer.clear()
        elif how in (0, 1):
            # Not the scrollback (3), which the transcript keeps.
            super().erase_in_display(how)

    # -- where pyte falls short of what terminals do

    def draw(self, data: str) -> None:
        """Write characters where the cursor is."""
        if self.line_drawing:
            data = data.translate(_LINE_DRAWING)
        self._last_drawn = data[-1]
        if data.isascii() and modes.IRM not in self.mode and self.cursor.x + len(data) <= self.columns:
            x = self.cursor.x
            self.buffer[self.cursor.y].update(zip(range(x, x + len(data)), map(_cell, data), strict=True))
            self.cursor.x = x + len(data)
            return
        for char in data:
            self._draw_one(char)

    def _draw_one(self, char: str) -> None:
        width = wcwidth(char)
        if width <= 0:
            self._combine(char)
            return
        if self.cursor.x + width > self.columns:
            self._wrap(width)
        if modes.IRM in self.mode:
            self.insert_characters(width)
        line = self.buffer[self.cursor.y]
        line[self.cursor.x] = _cell(char)
        if width == 2:  # noqa: PLR2004
            line[self.cursor.x + 1] = _cell("")
        self.cursor.x += width

    def _wrap(self, width: int) -> None:
        if modes.DECAWM in self.mode:
            self.buffer[self.cursor.y][WRAPPED] = _cell(" ")
            self.carriage_return()
            self.linefeed()
        else:
            self.cursor.x = max(0, self.columns - width)

    def _combine(self, char: str) -> None:
        line, x = self.buffer[self.cursor.y], self.cursor.x - 1
        while x > 0 and line[x].data == "":
            x -= 1
        if x >= 0 and len(line[x].data) < _LONGEST_CELL:
            line[x] = Char(unicodedata.normalize("NFC", line[x].data + char))

    def carriage_return(self) -> None:
        """Move to the first column."""
        self.cursor.x = 0

    def next_line(self) -> None:
        """Move to the first column of the next row."""
        self.carriage_return()
        self.linefeed()

    def save_cursor(self) -> None:
        """Note where the cursor is."""
        # The terminal has room for one; pyte keeps a stack that nothing bounds.
        self.savepoints.clear()
        super().save_cursor()

    def restore_cursor(self) -> None:
        """Move the cursor to where it was noted."""
        if self.savepoints:
            super().restore_cursor()

    def cursor_to_line(self, line: int | None = None) -> None:
        """Move to a row."""
        if self.margins is None:
            # pyte asserts margins where lines are counted from them.
            self.cursor.y = min((line or 1) - 1, self.lines - 1)
        else:
            super().cursor_to_line(line)

    def select_graphic_rendition(self, *_: int, **__: object) -> None:
        """Colours are left out."""

    def scroll_up(self, count: int) -> None:
        """Let `count` rows leave at the top."""
        top, bottom = self.margins or (0, self.lines - 1)
        kept, self.cursor.y = self.cursor.y, bottom
        for _ in range(min(count, bottom - top + 1)):
            self.index()
        self.cursor.y = kept

    def scroll_down(self, count: int) -> None:
        """Let `count` rows leave at the bottom."""
        top, bottom = self.margins or (0, self.lines - 1)
        kept, self.cursor.y = self.cursor.y, top
        for _ in range(min(count, bottom - top + 1)):
            self.reverse_index()
        self.cursor.y = kept

    def repeat(self, count: int) -> None:
        """Write the last character `count` times again."""
        self.draw(self._last_drawn * min(count, self.columns))

    def tab_back(self, count: int) -> None:
        """Move back by `count` tab stops."""
        self.cursor.x = max(0, (self.cursor.x - 1) // _TAB * _TAB - (count - 1) * _TAB)

    def reset(self) -> None:
        """Begin with an empty screen; the alternate one stays, if it is shown."""
        if hasattr(self, "cursor"):
            if self._main is None:
                self._give_screen()
            self.line_drawing = False
        super().reset()


@lru_cache(maxsize=4096)
def _cell(char: str) -> Char:
    return Char(char)
