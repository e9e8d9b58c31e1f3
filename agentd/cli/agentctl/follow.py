"""What an agent writes, as it writes it, from the scrollback of its terminal."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from agentd.cli.agentctl.command import Invocation
from agentd.cli.agentctl.terminals import NoSessionError, Terminal
from agentd.cli.terminal import harmless
from agentd.jcard.quoting import printable

LOOK_AFTER = 0.25
"""Seconds between two looks; one costs a fork of tmux, 5 ms."""

_MARGIN = 1000
"""Lines asked for at first; everything, if more were written since the last look."""

_ANCHOR = 100
"""Lines by which the place where the last look ended is found again."""

_MISSES = 4
"""Looks without a session after which it is taken as closed, not as being made anew for a restart."""


@dataclass(frozen=True, slots=True)
class _Look:
    pane: str
    history: int
    """Lines that have left the screen at the top."""
    cursor: int
    """Row of the cursor on the screen, from 0; the lines above it are finished."""
    lines: list[str]
    """The last lines, down to the end of the screen."""
    first: int
    """Number of the first of them, counted from the top of the history."""

    @property
    def finished(self) -> int:
        """How many lines are finished, counted from the top of the history."""
        return self.history + self.cursor

    def between(self, start: int, end: int) -> list[str]:
        """Give the lines from number ``start`` to before ``end``, as far as they were asked for."""
        return self.lines[max(0, start - self.first) : max(0, end - self.first)]

    def since(self, number: int) -> list[str]:
        """Give the finished lines from this one on."""
        return self.between(number, self.finished)

    @property
    def anchor(self) -> list[str]:
        """The last lines that have left the screen: nothing changes them any more."""
        return self.between(self.history - _ANCHOR, self.history)


def follow(terminal: Terminal, lines: int | None, invocation: Invocation) -> None:
    """Print the last ``lines`` finished lines (``None``: all), then each further one, until the session is closed.

    Raises
    ------
    CommandError
        If tmux refuses.
    """
    look = _capture(terminal, None)
    _print(look.since(0 if lines is None else max(0, look.finished - lines)))
    misses = 0
    while misses < _MISSES:
        time.sleep(LOOK_AFTER)  # noqa: TID251 (a person waits, and the API tells of no events)
        try:
            look = _print_new(terminal, look)
        except NoSessionError:
            misses += 1
        else:
            misses = 0
    invocation.warn(f"the session of {printable(terminal.agent)} was closed")


def _print_new(terminal: Terminal, last: _Look) -> _Look:
    now = _capture(terminal, _MARGIN)
    dropped = _dropped(last, now)
    if dropped != 0 and now.first > 0:
        now = _capture(terminal, None)
        dropped = _dropped(last, now)
    _print(now.since(0 if dropped is None else last.finished - dropped))
    return now


def _dropped(last: _Look, now: _Look) -> int | None:
    """Count the lines that the history lost at its top since the last look; ``None``: nothing of it is left.

    tmux drops a tenth at its limit, and does not tell.
    """
    if now.pane != last.pane:
        return None
    anchor, end = last.anchor, last.history
    if not anchor:
        return 0 if now.finished >= last.finished else None
    lost = range(end - len(anchor) - now.first + 1)
    return next((number for number in lost if now.between(end - len(anchor) - number, end - number) == anchor), None)


def _capture(terminal: Terminal, lines: int | None) -> _Look:
    """Take state and lines in one go, so that they belong together."""
    state, *captured = terminal.ask(
        "display-message", "-p", "-t", terminal.pane, "#{pane_id} #{history_size} #{cursor_y}",
        ";", "capture-pane", "-p", "-S", "-" if lines is None else f"-{lines}", "-t", terminal.pane,
    )  # fmt: skip
    pane, history, cursor = state.split(" ")
    first = 0 if lines is None else max(0, int(history) - lines)
    return _Look(pane, int(history), int(cursor), captured, first)


def _print(lines: list[str]) -> None:
    for line in lines:
        print(harmless(line.rstrip()))
    sys.stdout.flush()
