"""Sends a text to an agent the way a careful person would: look, paste, look, Enter, look."""

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
"""Seconds from a text that is seen to Enter: gemini swallows one that comes sooner, codex takes it for a line break.
Counted from the paste it was too little where the machine was ten times slower."""

ENTER_AGAIN = 3.0
"""Seconds after which Enter is pressed once more if the box stands as it did; for an empty box it means nothing."""

_TAIL = 24
"""Characters of the end of a text that are looked for on the screen."""


class Outcome(StrEnum):
    """What is known of a text that was sent."""

    TAKEN = "taken"
    """It stood in the input box and the box is empty again, or the agent has read all of its input."""
    TYPED = "typed"
    """Without Enter: it stands in the input box or on the line."""
    SHOWN = "shown"
    """The screen shows it; more cannot be seen with the rights of this user."""


class _Look(NamedTuple):
    """What a person would see at the place where typing goes."""

    before_cursor: str
    above: list[str]
    """The rows over the cursor's."""
    screen: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends to one agent."""

    terminal: Terminal
    empty_box: str | None
    """As in the harness' facts; ``None`` to send without looking for an input box."""
    unfinished: str | None
    """As in the harness' facts."""
    timeout: float
    """Seconds that each thing waited for may take."""
    still_running: Callable[[], None]
    """Raises if what reads the terminal is not the agent any more: a shell would execute the text."""

    def send(self, text: str, *, enter: bool) -> Outcome:
        """Paste a text and press Enter.

        Raises
        ------
        CommandError
            If the text was not sent, or it could not be seen that the agent took it; the text says which.
        BusyError
            If somebody else is sending all the time.
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
                self._stay_out_of_a_shell(agent)
                typed = self._look()
                self._press_enter()
                if self.empty_box is None:
                    return self._wait_until_read(text, agent)
                return self._wait_until_box_empties(typed)

    def _stay_out_of_a_shell(self, agent: AgentInput | None) -> None:
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
        # In one command, so that the cursor is where it was when the rows were read.
        place, *rows = self.terminal.pane.cmd("display-message", "-p", "#{cursor_x} #{cursor_y}", ";", *capture).stdout
        column, row = map(int, place.split())
        line = rows[row] if row < len(rows) else ""
        return _Look(line[:column].ljust(column), rows[:row], "\n".join(rows))

    def _box_is_gone(self, typed: _Look) -> bool:
        """Whether what is shown in place of the box that held the text is something else: /model opens a menu."""
        height = self._rows_of_box(typed)
        if height is None:
            return False
        now = self._rows_of_box(self._look())
        # A line more: Enter may have broken the last one.
        return now is None or now > height + 1

    def _rows_of_box(self, look: _Look) -> int | None:
        """How many rows over the cursor's the box begins, as far as can be seen; ``None`` if there is no box."""
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
            f"nothing was sent: the input box of {name} was not there and empty within {self.timeout:g} s, it shows "
            f"{quote(self._look().before_cursor.strip())}: see agentctl screen {name}, and agentctl keys {name} to"
            " answer a question; --force sends all the same"
        )

    def _paste(self, text: str) -> None:
        """Paste from tmux' own buffer, bracketed where the agent asked for that: no text is on a command line."""
        paste = ("paste-buffer", "-p", "-d", "-b", self.terminal.buffer)
        self.terminal.type(LEAVE_COPY_MODE, paste, text=text.encode())

    def _wait_until_typed(self) -> None:
        if self.empty_box is None or self._until(lambda: not self._box_is_empty()):
            return
        name = self.terminal.agent
        raise CommandError(
            f"the text was pasted, but the input box of {name} did not show it within {self.timeout:g} s, and Enter was"
            f" not pressed: see agentctl screen {name}"
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
            f"sent, not confirmed: the input box of {name} was not empty again within {self.timeout:g} s:"
            f" see agentctl screen {name}; agentctl keys {name} Enter presses Enter once more"
        )

    def _wait_until_read(self, text: str, agent: AgentInput | None) -> Outcome:
        name = self.terminal.agent
        # By then tmux has written all that the terminal had room for.
        self._look()
        if agent is None:
            # Where the screen breaks a line, a space may be lost.
            tail = "".join(text.split())[-_TAIL:]
            if self._until(lambda: tail in "".join(self._look().screen.split())):
                return Outcome.SHOWN
            raise CommandError(
                f"sent, not confirmed: the screen of {name} did not show the text within {self.timeout:g} s, and its"
                f" terminal belongs to another user: see agentctl screen {name}"
            )
        if self._until(lambda: _nothing_unread(agent)):
            return Outcome.TAKEN
        self._take_back(agent)
        raise CommandError(
            f"{name} did not read its terminal within {self.timeout:g} s: what it had not read was taken back, so that"
            " the shell that follows it does not; --timeout waits longer"
        )

    def _take_back(self, agent: AgentInput) -> None:
        # What did not fit into the terminal follows from tmux as soon as there is room.
        while agent.unread:
            agent.discard()
            self._look()
            _sleep(LOOK_AFTER)


def _nothing_unread(agent: AgentInput) -> bool:
    if agent.unread:
        return False
    # What was written a moment ago may not be counted yet.
    _sleep(LOOK_AFTER)
    return agent.unread == 0


def _check_lines(text: str, agent: AgentInput | None) -> None:
    if agent is None or not agent.reads_lines:
        return
    longest = max(len(line.encode()) for line in text.splitlines())
    if longest > LONGEST_LINE:
        raise CommandError(
            f"a line of the text has {longest} bytes, and the agent's terminal takes {LONGEST_LINE}: break it, or write"
            " it to a file and send the file's name"
        )


def _sleep(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)  # noqa: TID251 (a person waits, and a terminal tells of nothing)
