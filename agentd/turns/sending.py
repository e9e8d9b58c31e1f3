"""Send a message at a terminal as a careful person would: look, paste, look, press Enter, look. Pure.

It says step by step what is to be done, and is told what came of it: agentctl does it while a person waits, the daemon
in its loop.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeAlias

LOOK_AFTER: Final = 0.05
"""Seconds between two looks."""

PAUSE: Final = 0.4
"""Seconds from seeing the message to pressing Enter: gemini swallows an earlier one, codex takes it for a line break.
Counted from the paste, it was too short on a machine ten times slower."""

ENTER_AGAIN: Final = 3.0
"""Seconds after which Enter is pressed again if the box still holds the message; in an empty box it has no effect."""

_TIMES_AGAIN: Final = 3
"""How often, at most: Gemini CLI that is busy with its start reads the message and Enter together, and breaks the line,
as it does for the Enter of a paste. Once was not enough where that took some seconds."""

_EMPTY_FOR: Final = 0.2
_GONE_FOR: Final = 1.0
"""Seconds for which the box is seen to be empty, or to be gone: one look may find a screen that is half drawn. Gemini
CLI that draws a long conversation anew looked for a moment as if a menu stood there: Enter was not pressed again."""

LONGEST_LINE: Final = 4095
"""Longest line, in bytes without its end, that Linux gives a program that reads lines; source: termios(3)."""

_AT_ONCE: Final = 1024
"""Bytes that a terminal has room for in any case: nothing of it comes after what an ended agent left is discarded."""

_TAIL: Final = 24
"""Characters of the message's end that are searched for on the screen."""


class Outcome(StrEnum):
    """What is known of a sent message."""

    RECORDED = "recorded"
    """The agent's program has it in its own record."""
    TAKEN = "taken"
    """It was in the input box, which is empty again, or the agent has read all of its input."""
    QUEUED = "queued"
    """agentd keeps it, and hands it over when the agent's turn has ended."""
    TYPED = "typed"
    """It is in the input box or on the line; Enter was not pressed."""
    SHOWN = "shown"
    """The screen shows it; this user may not see more."""


class SendingError(Exception):
    """The message was not sent, or not seen to be taken."""


class NoBoxError(SendingError):
    """There was no empty input box; nothing was entered. The text is what stood there."""


class LongLineError(SendingError):
    """A line is longer than the terminal takes; nothing was entered. The text is the length."""


class GoneError(SendingError):
    """The run is not there any more, as the text says; nothing was entered that anybody would take for a command."""


class NotTypedError(SendingError):
    """It was pasted, and the box did not show it; Enter was not pressed."""


class NotTakenError(SendingError):
    """Enter was pressed, again after some seconds, and the box is not empty again."""


class NotShownError(SendingError):
    """Enter was pressed, and the screen does not show it; the terminal is another user's."""


class NotReadError(SendingError):
    """The agent did not read its terminal; what it had not read was discarded."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The screen around the cursor."""

    before_cursor: str
    above: tuple[str, ...]
    """The rows above the cursor's."""
    rows: tuple[str, ...]

    @classmethod
    def of(cls, rows: tuple[str, ...], column: int, row: int) -> Screen:
        """Read a screen whose cursor stands there; rows may lack the spaces at their ends."""
        line = rows[row] if row < len(rows) else ""
        return cls(line[:column].ljust(column), rows[:row], rows)


class Do(Enum):
    """A step without anything beside it."""

    LOOK = "look"
    """At the screen, in `Reply.screen`."""
    LOCK = "lock"
    """Wait to be the only sender, until the end."""
    CHECK = "check"
    """That the run still reads the terminal; what is not so is thrown into the steps as `GoneError`."""
    WAITS = "see whether the agent waits for input"
    """In `Reply.waits`."""
    ENTER = "press Enter"
    UNREAD = "count what the agent has not read"
    """In `Reply.unread`."""
    DISCARD = "discard what the agent has not read"


@dataclass(frozen=True, slots=True)
class Paste:
    """Paste a text in one piece."""

    text: str


@dataclass(frozen=True, slots=True)
class PasteAndEnter:
    """Paste a text and press Enter, in one command: no end of ours comes between."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for some seconds."""

    seconds: float


Step: TypeAlias = Do | Paste | PasteAndEnter | Wait


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a step."""

    at: float
    """Monotonic seconds."""
    screen: Screen | None = None
    unread: int | None = None
    """Bytes; ``None`` if the terminal may not be opened."""
    recorded: bool = False
    """Whether the agent's program is known to have the message."""
    waits: bool | None = None
    """As `agentd.process.waiting.waits_for_input` says it."""


Steps: TypeAlias = Generator[Step, Reply, Outcome]


@dataclass(frozen=True, slots=True)
class Sending:
    """One message to one terminal."""

    text: str
    enter: bool
    """Whether to press Enter behind it."""
    empty_box: str | None
    """As in the harness' facts; ``None`` to send without waiting for an input box."""
    unfinished: str | None
    """As in the harness' facts."""
    box_limit: float
    """Seconds to wait for the input box, or for a program without one to wait for input."""
    limit: float
    """Seconds to wait for the agent to take the message."""
    reads_lines: bool
    """Whether the terminal collects lines, as for programs without an input box."""
    at_once: bool = False
    """Whether Enter may follow without a look: if we ended between, a text that was pasted alone would begin the next
    one. Only without a box, and where the terminal has room for all of it."""

    def steps(self) -> Steps:
        """Send it.

        Raises
        ------
        SendingError
            If it was not sent, or the agent was not seen to take it.
        """
        self._check_lines()
        yield from self._wait_for_box()
        if self.empty_box is None and self.box_limit > 0:
            yield from self._wait_for_reader()
        yield Do.LOCK
        # Another sender may have been first.
        yield from self._wait_for_box()
        yield Do.CHECK
        if self.at_once and self.enter and self.empty_box is None and len(self.text.encode()) <= _AT_ONCE:
            yield PasteAndEnter(self._finished())
            return (yield from self._wait_until_read())
        yield Paste(self._finished() if self.enter else self.text)
        yield from self._wait_until_typed()
        yield Wait(PAUSE)
        if not self.enter:
            return Outcome.TYPED
        try:
            yield Do.CHECK
        except GoneError:
            # A shell would execute it.
            yield Do.DISCARD
            raise
        typed = yield from _look()
        yield Do.ENTER
        if self.empty_box is None:
            return (yield from self._wait_until_read())
        return (yield from self._wait_until_box_empties(typed))

    def _check_lines(self) -> None:
        longest = max((len(line.encode()) for line in self.text.splitlines()), default=0)
        if self.reads_lines and longest > LONGEST_LINE:
            raise LongLineError(str(longest))

    def _finished(self) -> str:
        ends = self.unfinished is not None and re.search(self.unfinished, self.text) is not None
        return f"{self.text} " if ends else self.text

    def _wait_for_box(self) -> Generator[Step, Reply, None]:
        if self.empty_box is not None and not (yield from _until(self._shows_empty_box, self.box_limit)):
            raise NoBoxError((yield from _look()).before_cursor.strip())

    def _wait_for_reader(self) -> Generator[Step, Reply, None]:
        """Wait until the program reads; one that was not seen to may look at its terminal now and then all the same."""
        reply = yield Do.WAITS
        end = reply.at + self.box_limit
        while reply.waits is False and reply.at < end:
            yield Wait(LOOK_AFTER)
            reply = yield Do.WAITS

    def _wait_until_typed(self) -> Generator[Step, Reply, None]:
        if self.empty_box is not None and not (
            yield from _until(lambda reply: not self._shows_empty_box(reply), self.limit)
        ):
            raise NotTypedError

    def _wait_until_box_empties(self, typed: Screen) -> Steps:
        def taken(reply: Reply) -> bool:
            return reply.recorded or self._shows_empty_box(reply)

        def gone(reply: Reply) -> bool:
            return reply.screen is not None and self._is_gone(typed, reply.screen)

        def over(limit: float) -> Generator[Step, Reply, bool]:
            return (yield from _until(taken, limit, _EMPTY_FOR)) or (yield from _until(gone, 0.0, _GONE_FOR))

        *pauses, last = self._pauses()
        for pause in pauses:
            if (yield from over(pause)):
                return Outcome.TAKEN
            if self._holds_still(typed, (yield from _look())):
                yield Do.ENTER
        if (yield from over(last)):
            return Outcome.TAKEN
        raise NotTakenError

    def _pauses(self) -> tuple[float, ...]:
        """Give the seconds from one Enter to the next: until the second, then the limit in parts."""
        more = min(_TIMES_AGAIN - 1, max(0, int(self.limit / ENTER_AGAIN) - 1))
        return min(ENTER_AGAIN, self.limit), *(more * (ENTER_AGAIN,)), self.limit - more * ENTER_AGAIN

    def _wait_until_read(self) -> Steps:
        # Once tmux answers, it has written all that the terminal had room for.
        yield from _look()
        reply = yield Do.UNREAD
        if reply.unread is None:
            # A space may be lost where the screen breaks a line.
            tail = "".join(self.text.split())[-_TAIL:]
            if (yield from _until(lambda reply: reply.recorded or tail in _joined(reply), self.limit)):
                return Outcome.SHOWN
            raise NotShownError
        if (yield from self._is_read(reply)):
            return Outcome.TAKEN
        # tmux writes what did not fit into the terminal as soon as there is room.
        while (yield Do.UNREAD).unread:
            yield Do.DISCARD
            yield from _look()
            yield Wait(LOOK_AFTER)
        raise NotReadError

    def _is_read(self, reply: Reply) -> Generator[Step, Reply, bool]:
        end = reply.at + self.limit
        while True:
            if reply.recorded:
                return True
            if not reply.unread:
                # What was just written may not be counted yet.
                yield Wait(LOOK_AFTER)
                reply = yield Do.UNREAD
                if not reply.unread:
                    return True
            if reply.at >= end:
                return False
            yield Wait(LOOK_AFTER)
            reply = yield Do.UNREAD

    def _shows_empty_box(self, reply: Reply) -> bool:
        assert self.empty_box is not None
        assert reply.screen is not None
        return re.fullmatch(self.empty_box, reply.screen.before_cursor) is not None

    def _is_gone(self, typed: Screen, now: Screen) -> bool:
        """Whether something else has replaced the box that held the message: /model opens a menu."""
        height = self._rows_of_box(typed)
        if height is None or self._holds_still(typed, now):
            return False
        rows = self._rows_of_box(now)
        # One row more is still the box: Enter may have broken a line.
        return rows is None or rows > height + 1

    def _holds_still(self, typed: Screen, now: Screen) -> bool:
        """Whether the box holds what it held before Enter, which may have broken a line."""
        assert self.empty_box is not None
        before, after = held_in_box(typed, self.empty_box), held_in_box(now, self.empty_box)
        return before is not None and after is not None and "".join(before.split()) == "".join(after.split())

    def _rows_of_box(self, screen: Screen) -> int | None:
        """Count the rows from the cursor up to where the box begins; ``None`` if there is no box."""
        assert self.empty_box is not None
        rows = (screen.before_cursor, *reversed(screen.above))
        return next((at for at, row in enumerate(rows) if re.match(self.empty_box, row)), None)


def held_in_box(screen: Screen, empty_box: str) -> str | None:
    """What stands in the box, up to the cursor; ``None`` if there is no box."""
    rows = (*screen.above, screen.before_cursor)
    for at in range(len(rows) - 1, -1, -1):
        begin = re.match(empty_box, rows[at])
        if begin is not None:
            return " ".join((rows[at][begin.end() :], *(row.strip() for row in rows[at + 1 :]))).strip()
    return None


def _look() -> Generator[Step, Reply, Screen]:
    reply = yield Do.LOOK
    assert reply.screen is not None
    return reply.screen


def _joined(reply: Reply) -> str:
    assert reply.screen is not None
    return "".join("".join(reply.screen.rows).split())


def _until(condition: Callable[[Reply], bool], seconds: float, lasts: float = 0.0) -> Generator[Step, Reply, bool]:
    """Look until the screen is as is wanted, and stays so, or the time is over before it was."""
    reply = yield Do.LOOK
    end, since = reply.at + seconds, math.inf
    while True:
        since = min(since, reply.at) if condition(reply) else math.inf
        if reply.at >= since + lasts or (reply.recorded and since < math.inf):
            return True
        if reply.at >= end and since == math.inf:
            return False
        yield Wait(LOOK_AFTER)
        reply = yield Do.LOOK
