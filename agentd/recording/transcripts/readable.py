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
from collections.abc import Callable, Mapping
from typing import TypeAlias

from pyte import modes

from agentd.recording.transcripts.screen import Screen

_LARGEST_NUMBER = 9999
_LONGEST_PENDING = 1 << 16
"""Characters of a control sequence that has not ended; past this it is taken as none."""
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
        self._screen = Screen(columns, rows)

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
            _take(self._screen, token)
            if not number & _LOOK_AT_CLOCK and time.thread_time() > until:
                raise TooSlowError
        return self._screen.take_scrolled()

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size from here on."""
        self._screen.change_size(columns, rows)

    def settled(self) -> list[str]:
        """Give lines above the cursor that nothing is likely to change any more, each once.

        Of a program that only prints lines these are all; of one that moves about on the screen those that are as they
        were at the last call.
        """
        return list(self._screen.settled())

    def rest(self) -> list[str]:
        """Give what the screen shows, as far as it was not given yet; blank lines at the end are left out."""
        return self._screen.rest()


def _take(screen: Screen, token: re.Match[str]) -> None:
    kind = token.lastgroup
    if kind == "text":
        screen.draw(token["text"])
    elif kind == "control":
        control = _CONTROLS.get(token["control"])
        if control is not None:
            control(screen)
    elif kind == "final":
        _sequence(screen, token)
    elif kind == "set":
        if token["charset"] == "(":
            screen.line_drawing = token["set"] == "0"
    elif kind == "escape":
        escape = _ESCAPES.get(token["escape"])
        if escape is not None:
            escape(screen)


def _sequence(screen: Screen, token: re.Match[str]) -> None:
    if token["between"]:
        return
    numbers = [_number(text) for text in token["numbers"].split(";")[:16]]
    final = token["final"]
    if token["prefix"] == "?":
        if final in "hl":
            for number in numbers:
                _private_mode(screen, number, on=final == "h")
        return
    if token["prefix"]:
        return
    action = _SEQUENCES.get(final)
    if action is not None:
        if final in _MOVING:
            screen.moves_about = True
        action(screen, numbers[0], numbers[1] if len(numbers) > 1 else 0)


def _private_mode(screen: Screen, number: int, *, on: bool) -> None:
    if number in (47, 1047, 1049):
        screen.alternate(on=on)
    elif number in (6, 7):  # DECOM, DECAWM
        (screen.set_mode if on else screen.reset_mode)(number, private=True)


def _insert_mode(screen: Screen, number: int, *, on: bool) -> None:
    if number == modes.IRM:
        (screen.set_mode if on else screen.reset_mode)(number)


def _number(text: str) -> int:
    # What follows a colon only says more about a colour or an underline.
    digits = text.partition(":")[0]
    return min(int(digits[:6] or 0), _LARGEST_NUMBER)


_Control: TypeAlias = Callable[[Screen], None]
_Sequence: TypeAlias = Callable[[Screen, int, int], None]

_CONTROLS: Mapping[str, _Control] = {
    "\b": Screen.backspace,
    "\t": Screen.tab,
    "\n": Screen.linefeed,
    "\v": Screen.linefeed,
    "\f": Screen.linefeed,
    "\r": Screen.carriage_return,
}
_ESCAPES: Mapping[str, _Control] = {
    "c": Screen.reset,
    "D": Screen.index,
    "E": Screen.next_line,
    "M": Screen.reverse_index,
    "7": Screen.save_cursor,
    "8": Screen.restore_cursor,
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
    "h": lambda screen, n, _: _insert_mode(screen, n, on=True),
    "l": lambda screen, n, _: _insert_mode(screen, n, on=False),
    "r": lambda screen, n, m: screen.set_margins(n, m or None),
    "s": lambda screen, _, __: screen.save_cursor(),
    "u": lambda screen, _, __: screen.restore_cursor(),
}
_MOVING = frozenset("AFHJLMSTdfr")
"""Sequences after which lines above the cursor may change."""
