"""Send a message as a careful person would: look, paste, look, press Enter, look."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from agentd.cli.agentctl.agent_input import LONGEST_LINE, LOOK_AFTER, AgentInput, only_sender, open_input
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.terminals import LEAVE_COPY_MODE, Terminal
from agentd.text.quoting import quote

PAUSE = 0.4
"""Seconds from seeing the message to pressing Enter: gemini swallows an earlier one, codex takes it for a line break.
Counted from the paste, it was too short on a machine ten times slower."""

ENTER_AGAIN = 3.0
"""Seconds after which Enter is pressed again if the box is unchanged; in an empty box it has no effect."""

_TAIL = 24
"""Characters of the message's end that are searched for on the screen."""


class Outcome(StrEnum):
    """What is known of a sent message."""

    RECORDED = "recorded"
    """The agent's program has it in its own record."""
    TAKEN = "taken"
    """It was in the input box, which is empty again, or the agent has read all of its input."""
    TYPED = "typed"
    """It is in the input box or on the line; Enter was not pressed."""
    SHOWN = "shown"
    """The screen shows it; this user may not see more."""


class _Look(NamedTuple):
    """The screen around the cursor."""

    before_cursor: str
    above: list[str]
    """The rows above the cursor's."""
    screen: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends messages to one agent."""

    terminal: Terminal
    empty_box: str | None
    """As in the harness' facts; ``None`` to send without waiting for an input box."""
    unfinished: str | None
    """As in the harness' facts."""
    timeout: float
    """Seconds to wait for the input box, and again for the agent to take the message."""
    still_running: Callable[[], None]
    """Raises if the agent no longer reads the terminal: a shell would execute the message."""

    def send(self, text: str, *, enter: bool) -> Outcome:
        """Paste a message and, with `enter`, press Enter.

        Raises
        ------
        CommandError
            If the message was not sent, or the agent was not seen to take it; the text says which.
        BusyError
            If others are sending all the time.
        """
        with open_input(str(self.terminal.pane.pane_tty)) as agent:
            _check_lines(text, agent)
            self._wait_for_box()
            with only_sender(self.terminal.server.socket, agent, self.timeout):
                # Another sender may have been first.
                self._wait_for_box()
                self.still_running()
                self._paste(self._finished(text) if enter else text)
                self._wait_until_typed()
                _sleep(PAUSE)
                if not enter:
                    return Outcome.TYPED
                self._spare_a_shell(agent)
                typed = self._look()
                self._press_enter()
                if self.empty_box is None:
                    return self._wait_until_read(text, agent)
                return self._wait_until_box_empties(typed)

    def _spare_a_shell(self, agent: AgentInput | None) -> None:
        try:
            self.still_running()
        except CommandError:
            if agent is not None:
                agent.discard()
            raise

    def _finished(self, text: str) -> str:
        ends = self.unfinished is not None and re.search(self.unfinished, text) is not None
        return f"{text} " if ends else text

    def _look(self) -> _Look:
        capture = ("capture-pane", "-p", "-t", self.terminal.pane_id)
        # One command, so that the cursor belongs to these rows.
        place, *rows = self.terminal.pane.cmd("display-message", "-p", "#{cursor_x} #{cursor_y}", ";", *capture).stdout
        column, row = map(int, place.split())
        line = rows[row] if row < len(rows) else ""
        return _Look(line[:column].ljust(column), rows[:row], "\n".join(rows))

    def _box_is_gone(self, typed: _Look) -> bool:
        """Whether something else has replaced the box that held the message: /model opens a menu."""
        height = self._rows_of_box(typed)
        if height is None:
            return False
        now = self._rows_of_box(self._look())
        # One row more is still the box: Enter may have broken a line.
        return now is None or now > height + 1

    def _rows_of_box(self, look: _Look) -> int | None:
        """Count the rows from the cursor up to where the box begins; ``None`` if there is no box."""
        assert self.empty_box is not None
        rows = (look.before_cursor, *reversed(look.above))
        return next((at for at, row in enumerate(rows) if re.match(self.empty_box, row)), None)

    def _box_is_empty(self) -> bool:
        return self.empty_box is not None and re.fullmatch(self.empty_box, self._look().before_cursor) is not None

    def _until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while not condition():
            if time.monotonic() >= end:
                return False
            _sleep(LOOK_AFTER)
        return True

    def _wait_for_box(self) -> None:
        if self.empty_box is None or self._until(self._box_is_empty):
            return
        name = self.terminal.agent
        raise CommandError(
            f"nothing was sent: {name} showed no empty input box within {self.timeout:g} s, but "
            f"{quote(self._look().before_cursor.strip())}: see agentctl screen {name}; agentctl keys {name} answers a "
            "question; --force sends anyway"
        )

    def _paste(self, text: str) -> None:
        """Paste from a tmux buffer, bracketed if the agent asked for that: the message is on no command line."""
        paste = ("paste-buffer", "-p", "-d", "-b", self.terminal.buffer)
        self.terminal.type(LEAVE_COPY_MODE, paste, text=text.encode())

    def _wait_until_typed(self) -> None:
        if self.empty_box is None or self._until(lambda: not self._box_is_empty()):
            return
        name = self.terminal.agent
        raise CommandError(
            f"the message was pasted, but the input box of {name} did not show it within {self.timeout:g} s; Enter was "
            f"not pressed: see agentctl screen {name}"
        )

    def _press_enter(self) -> None:
        self.terminal.type(("send-keys", "Enter"))

    def _wait_until_box_empties(self, typed: _Look) -> Outcome:
        if self._until(self._box_is_empty, min(ENTER_AGAIN, self.timeout)) or self._box_is_gone(typed):
            return Outcome.TAKEN
        if self._look().before_cursor == typed.before_cursor:
            self._press_enter()
        if self._until(self._box_is_empty) or self._box_is_gone(typed):
            return Outcome.TAKEN
        name = self.terminal.agent
        raise CommandError(
            f"sent, not confirmed: the input box of {name} was not empty again within {self.timeout:g} s: "
            f"see agentctl screen {name}; agentctl keys {name} Enter presses Enter again"
        )

    def _wait_until_read(self, text: str, agent: AgentInput | None) -> Outcome:
        name = self.terminal.agent
        # Once tmux answers, it has written all that the terminal had room for.
        self._look()
        if agent is None:
            # A space may be lost where the screen breaks a line.
            tail = "".join(text.split())[-_TAIL:]
            if self._until(lambda: tail in "".join(self._look().screen.split())):
                return Outcome.SHOWN
            raise CommandError(
                f"sent, not confirmed: the screen of {name} did not show the message within {self.timeout:g} s, and "
                f"its terminal belongs to another user: see agentctl screen {name}"
            )
        if self._until(lambda: _nothing_unread(agent)):
            return Outcome.TAKEN
        self._discard(agent)
        raise CommandError(
            f"{name} did not read its terminal within {self.timeout:g} s: what it had not read was discarded, so that "
            "no shell after it executes it; --timeout waits longer"
        )

    def _discard(self, agent: AgentInput) -> None:
        # tmux writes what did not fit into the terminal as soon as there is room.
        while agent.unread:
            agent.discard()
            self._look()
            _sleep(LOOK_AFTER)


def _nothing_unread(agent: AgentInput) -> bool:
    if agent.unread:
        return False
    # What was just written may not be counted yet.
    _sleep(LOOK_AFTER)
    return agent.unread == 0


def _check_lines(text: str, agent: AgentInput | None) -> None:
    if agent is None or not agent.reads_lines:
        return
    longest = max(len(line.encode()) for line in text.splitlines())
    if longest > LONGEST_LINE:
        raise CommandError(
            f"a line of the message has {longest} bytes, and the agent's terminal takes {LONGEST_LINE}: break it, or "
            "write it to a file and send the file's name"
        )


def _sleep(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)  # noqa: TID251 (a person waits, and a terminal reports nothing)
