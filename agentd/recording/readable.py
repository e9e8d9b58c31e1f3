"""What a person would read of a transcript: terminal output, interpreted as the agent's terminal did.

pyte keeps the screen. Its own parser is not used: it prints the content of device control strings, takes a colon for
the end of a sequence, drops the rest of a text after a zero-width character, and raises at arguments it does not expect
(0.8.2), and transcripts hold whatever agents print. Colours are left out: who wants them takes the raw bytes.

Lines come out once nothing changes them any more: when they scroll off the top. What the screen shows at the end comes
last. What a full-screen program shows on the alternate screen comes out as it was when the program left it.
"""

from __future__ import annotations

import codecs
import math
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

import pyte
from pyte import modes
from pyte.screens import Char, Cursor, StaticDefaultDict
from wcwidth import wcwidth

_Line: TypeAlias = StaticDefaultDict[int, Char]

_LARGEST_NUMBER = 9999
_LONGEST_PENDING = 1 << 16
"""Characters of a control sequence that has not ended; past this it is taken as none."""
_LONGEST_CELL = 16
"""Characters in one cell: a letter with what is combined with it."""
_WRAPPED, _SHOWN, _SEEN = -1, -2, -3
"""Columns that no terminal has: pyte moves and clears a line's own notes together with it."""
_TAB = 8
_LOOK_AT_CLOCK = 255
"""Control sequences between two looks at the clock, less one."""

_TOKENS = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<prefix>[<-?]?)(?P<numbers>[0-9:;]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    # A string (title, query, picture) ends with ST, in practice also with BEL; ESC that begins something else ends it.
    r"|\x1b[\]PX^_][^\x07\x18\x1a\x1b]*(?:[\x07\x18\x1a]|\x1b\\|(?=\x1b[^\\]))"
    r"|\x1b(?P<charset>[()])(?P<set>[0-~])"
    r"|\x1b[ -/]*(?P<escape>[0-OQ-WYZ\\`-~])"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])"
    r"|(?P<stray>\x1b)"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[<-?]?[0-9:;]*[ -/]*|[()]|[ -/]*|[\]PX^_][^\x07\x18\x1a\x1b]*\x1b?)\Z")
_LINE_DRAWING = str.maketrans("`afgjklmnopqrstuvwxyz{|}~", "◆▒°±┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")


class TooSlowError(RuntimeError):
    """Rendering took longer than it may."""


class Readable:
    """Turns the bytes of a transcript into lines.

    Parameters
    ----------
    columns, rows
        Size of the terminal they were printed to.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._screen = _Screen(columns, rows)

    def feed(self, data: bytes, *, effort: float = math.inf) -> list[str]:
        """Take bytes, and give the lines that scrolled off.

        Parameters
        ----------
        effort
            Seconds of this thread's CPU after which to give up.

        Raises
        ------
        TooSlowError
            If it is not done by then: 4 bytes can ask for the work of a whole screen.
        """
        until = time.thread_time() + effort
        text = self._pending + self._decoder.decode(data)
        self._pending = ""
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _LONGEST_PENDING))
        if unfinished is not None:
            self._pending, text = unfinished[0], text[: unfinished.start()]
        for number, token in enumerate(_TOKENS.finditer(text)):
            self._screen.take(token)
            if not number & _LOOK_AT_CLOCK and time.thread_time() > until:
                raise TooSlowError
        return self._screen.take_scrolled()

    def settled(self) -> list[str]:
        """Give lines above the cursor that nothing is likely to change any more, each once.

        Of a program that only prints lines these are all; of one that moves about on the screen those that are as they
        were at the last call.
        """
        return list(self._screen.settled())

    def rest(self) -> list[str]:
        """Give what the screen shows, as far as it was not given yet; blank lines at the end are left out."""
        return self._screen.rest()


class _Screen(pyte.Screen):
    """A screen that hands out the lines that leave it, and that knows the alternate screen."""

    def __init__(self, columns: int, rows: int) -> None:
        self._scrolled: list[str] = []
        self._partial = ""
        self._main: tuple[dict[int, _Line], Cursor, str] | None = None
        self._moves_about = False
        self._line_drawing = False
        self._last_drawn = " "
        super().__init__(columns, rows)

    # -- tokens

    def take(self, token: re.Match[str]) -> None:
        kind = token.lastgroup
        if kind == "text":
            self.draw(token["text"])
        elif kind == "control":
            control = _CONTROLS.get(token["control"])
            if control is not None:
                control(self)
        elif kind == "final":
            self._sequence(token)
        elif kind == "set":
            if token["charset"] == "(":
                self._line_drawing = token["set"] == "0"
        elif kind == "escape":
            escape = _ESCAPES.get(token["escape"])
            if escape is not None:
                escape(self)

    def _sequence(self, token: re.Match[str]) -> None:
        if token["between"]:
            return
        numbers = [_number(text) for text in token["numbers"].split(";")[:16]]
        final = token["final"]
        if token["prefix"] == "?":
            if final in "hl":
                for number in numbers:
                    self._private_mode(number, on=final == "h")
            return
        if token["prefix"]:
            return
        action = _SEQUENCES.get(final)
        if action is not None:
            if final in _MOVING:
                self._moves_about = True
            action(self, numbers[0], numbers[1] if len(numbers) > 1 else 0)

    def _private_mode(self, number: int, *, on: bool) -> None:
        if number in (47, 1047, 1049):
            self._alternate(on=on)
        elif number in (6, 7):  # DECOM, DECAWM
            (self.set_mode if on else self.reset_mode)(number, private=True)

    def insert_mode(self, number: int, *, on: bool) -> None:
        if number == modes.IRM:
            (self.set_mode if on else self.reset_mode)(number)

    # -- lines that leave the screen

    def take_scrolled(self) -> list[str]:
        lines, self._scrolled = self._scrolled, []
        return lines

    def _give(self, line: _Line) -> None:
        """Give a line that scrolls off, joined with those before it that only the width of the terminal broke."""
        text = self._partial + _text(line, self.columns)
        if self._continues(line):
            self._partial = text
            return
        self._partial, text = "", text.rstrip()
        if _note(line, _SHOWN) != text:
            self._scrolled.append(text)

    def _continues(self, line: _Line) -> bool:
        # A wide character that did not fit leaves the last column empty.
        return _WRAPPED in line and (self.columns - 1 in line or self.columns - 2 in line)

    def _whole(self, rows: int) -> Iterator[tuple[_Line, str]]:
        """The first so many rows, joined where only the width broke them; each with the last one of its lines."""
        partial = self._partial
        for y in range(rows):
            line = self.buffer[y]
            text = partial + _text(line, self.columns)
            partial = text if self._continues(line) else ""
            if not partial or y == rows - 1:
                yield line, text.rstrip()

    def _give_screen(self) -> None:
        """Give what the screen shows and was not given yet, without blank lines at its end."""
        given = [(line, text) for line, text in self._whole(max(self.buffer, default=-1) + 1)]
        while given and not given[-1][1]:
            given.pop()
        for line, text in given:
            if _note(line, _SHOWN) != text:
                line[_SHOWN] = Char(text)
                self._scrolled.append(text)
        self._partial = ""

    def rest(self) -> list[str]:
        if self._main is not None:
            self._alternate(on=False)
        self._give_screen()
        self.buffer.clear()
        self.cursor.x = self.cursor.y = 0
        return self.take_scrolled()

    def settled(self) -> Iterator[str]:
        if self._main is not None:
            return
        for line, text in self._whole(min(self.cursor.y, self.lines)):
            shown = _note(line, _SHOWN)
            if self._continues(line) or shown == text or (shown is not None and not text):
                continue
            if not self._moves_about or _note(line, _SEEN) == text:
                line[_SHOWN] = Char(text)
                yield text
            else:
                line[_SEEN] = Char(text)

    def index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and self._main is None:
            self._give(self.buffer[top])
        super().index()

    def _alternate(self, *, on: bool) -> None:
        if on and self._main is None:
            self._main = dict(self.buffer), Cursor(self.cursor.x, self.cursor.y, self.cursor.attrs), self._partial
            self.buffer.clear()
            self._partial = ""
        elif not on and self._main is not None:
            shown = dict(self.buffer)
            lines, cursor, partial = self._main
            self._main = None
            # What the program covered was there before what it showed last.
            self._show(lines, partial)
            self._give_screen()
            self._show(shown, "")
            self._give_screen()
            self._show(lines, "")
            self.cursor = cursor

    def _show(self, lines: Mapping[int, _Line], partial: str) -> None:
        self.buffer.clear()
        self.buffer.update(lines)
        self._partial = partial

    def erase_in_display(self, how: int = 0, *_: object, **__: object) -> None:
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
        if self._line_drawing:
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
            self.buffer[self.cursor.y][_WRAPPED] = _cell(" ")
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
        self.cursor.x = 0

    def next_line(self) -> None:
        self.carriage_return()
        self.linefeed()

    def save_cursor(self) -> None:
        # The terminal has room for one; pyte keeps a stack that nothing bounds.
        self.savepoints.clear()
        super().save_cursor()

    def restore_cursor(self) -> None:
        if self.savepoints:
            super().restore_cursor()

    def cursor_to_line(self, line: int | None = None) -> None:
        if self.margins is None:
            # pyte asserts margins where lines are counted from them.
            self.cursor.y = min((line or 1) - 1, self.lines - 1)
        else:
            super().cursor_to_line(line)

    def select_graphic_rendition(self, *_: int, **__: object) -> None:
        """Colours are left out."""

    def scroll_up(self, count: int) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        kept, self.cursor.y = self.cursor.y, bottom
        for _ in range(min(count, bottom - top + 1)):
            self.index()
        self.cursor.y = kept

    def scroll_down(self, count: int) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        kept, self.cursor.y = self.cursor.y, top
        for _ in range(min(count, bottom - top + 1)):
            self.reverse_index()
        self.cursor.y = kept

    def repeat(self, count: int) -> None:
        self.draw(self._last_drawn * min(count, self.columns))

    def tab_back(self, count: int) -> None:
        self.cursor.x = max(0, (self.cursor.x - 1) // _TAB * _TAB - (count - 1) * _TAB)

    def reset(self) -> None:
        if hasattr(self, "cursor"):
            self._give_screen()
            self._main = None
            self._line_drawing = False
        super().reset()


@lru_cache(maxsize=4096)
def _cell(char: str) -> Char:
    return Char(char)


def _number(text: str) -> int:
    # What follows a colon only says more about a colour or an underline.
    digits = text.partition(":")[0]
    return min(int(digits[:6] or 0), _LARGEST_NUMBER)


def _note(line: _Line, column: int) -> str | None:
    return line[column].data if column in line else None


def _text(line: Mapping[int, Char], columns: int) -> str:
    """The text of a line up to its last character."""
    last = max(line, default=-1)
    return "".join([line[x].data for x in range(min(last + 1, columns))])


_Control: TypeAlias = Callable[[_Screen], None]
_Sequence: TypeAlias = Callable[[_Screen, int, int], None]

_CONTROLS: Mapping[str, _Control] = {
    "\b": _Screen.backspace,
    "\t": _Screen.tab,
    "\n": _Screen.linefeed,
    "\v": _Screen.linefeed,
    "\f": _Screen.linefeed,
    "\r": _Screen.carriage_return,
}
_ESCAPES: Mapping[str, _Control] = {
    "c": _Screen.reset,
    "D": _Screen.index,
    "E": _Screen.next_line,
    "M": _Screen.reverse_index,
    "7": _Screen.save_cursor,
    "8": _Screen.restore_cursor,
}
_SEQUENCES: Mapping[str, _Sequence] = {
    "@": lambda screen, n, _: screen.insert_characters(n or 1),
    "A": lambda screen, n, _: screen.cursor_up(n or 1),
    "B": lambda screen, n, _: screen.cursor_down(n or 1),
    "C": lambda screen, n, _: screen.cursor_forward(n or 1),
    "D": lambda screen, n, _: screen.cursor_back(n or 1),
    "E": lambda screen, n, _: screen.cursor_down1(n or 1),
    "F": lambda screen, n, _: screen.cursor_up1(n or 1),
    "G": lambda screen, n, _: screen.cursor_to_column(n or 1),
    "H": lambda screen, n, m: screen.cursor_position(n or 1, m or 1),
    "J": lambda screen, n, _: screen.erase_in_display(n),
    "K": lambda screen, n, _: screen.erase_in_line(n) if n in (0, 1, 2) else None,
    "L": lambda screen, n, _: screen.insert_lines(n or 1),
    "M": lambda screen, n, _: screen.delete_lines(n or 1),
    "P": lambda screen, n, _: screen.delete_characters(n or 1),
    "S": lambda screen, n, _: screen.scroll_up(n or 1),
    "T": lambda screen, n, _: screen.scroll_down(n or 1),
    "X": lambda screen, n, _: screen.erase_characters(n or 1),
    "Z": lambda screen, n, _: screen.tab_back(n or 1),
    "`": lambda screen, n, _: screen.cursor_to_column(n or 1),
    "a": lambda screen, n, _: screen.cursor_forward(n or 1),
    "b": lambda screen, n, _: screen.repeat(n or 1),
    "d": lambda screen, n, _: screen.cursor_to_line(n or 1),
    "e": lambda screen, n, _: screen.cursor_down(n or 1),
    "f": lambda screen, n, m: screen.cursor_position(n or 1, m or 1),
    "h": lambda screen, n, _: screen.insert_mode(n, on=True),
    "l": lambda screen, n, _: screen.insert_mode(n, on=False),
    "r": lambda screen, n, m: screen.set_margins(n, m),
    "s": lambda screen, _, __: screen.save_cursor(),
    "u": lambda screen, _, __: screen.restore_cursor(),
}
_MOVING = frozenset("AFHJLMSTdfr")
"""Sequences after which lines above the cursor may change."""
