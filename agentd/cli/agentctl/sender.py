"""Send a message to an agent at its terminal, while a person waits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentd.cli.agentctl.agent_input import only_sender, open_input
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.terminals import LEAVE_COPY_MODE, Terminal
from agentd.process.waiting import waits_for_input
from agentd.text.quoting import quote
from agentd.tmux.agent_input import AgentInput
from agentd.turns.sending import (
    LONGEST_LINE,
    Do,
    GoneError,
    LongLineError,
    NoBoxError,
    NotReadError,
    NotShownError,
    NotTakenError,
    NotTypedError,
    Outcome,
    Paste,
    PasteAndEnter,
    Reply,
    Screen,
    Sending,
    SendingError,
    Step,
    Wait,
)


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
    pid: int | None
    """The agent's process; ``None`` if it is not to be seen whether it waits for input."""
    still_running: Callable[[], None]
    """Raises `GoneError` if the agent no longer reads the terminal: a shell would execute the message."""

    def send(self, text: str, *, enter: bool) -> Outcome:
        """Paste a message and, with `enter`, press Enter.

        Raises
        ------
        CommandError
            If the message was not sent, or the agent was not seen to take it; the text says which.
        BusyError
            If others are sending all the time.
        """
        with contextlib.ExitStack() as stack:
            own = stack.enter_context(open_input(str(self.terminal.pane.pane_tty)))
            sending = Sending(
                text=text,
                enter=enter,
                empty_box=self.empty_box,
                unfinished=self.unfinished,
                box_limit=self.timeout,
                limit=self.timeout,
                reads_lines=own is not None and own.reads_lines,
            )
            try:
                return self._do(sending, own, stack)
            except SendingError as error:
                raise CommandError(self._said(error), example=f"agentctl screen {self.terminal.agent}") from None

    def _do(self, sending: Sending, own: AgentInput | None, stack: contextlib.ExitStack) -> Outcome:
        steps = sending.steps()
        step = next(steps)
        while True:
            try:
                try:
                    reply = self._step(step, own, stack)
                except GoneError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def _step(self, step: Step, own: AgentInput | None, stack: contextlib.ExitStack) -> Reply:
        screen, unread, waits = None, None, None
        match step:
            case Paste(text) | PasteAndEnter(text):
                # From a tmux buffer, bracketed if the agent asked for that: the message is on no command line.
                paste = ("paste-buffer", "-p", "-d", "-b", self.terminal.buffer)
                enter = [("send-keys", "Enter")] if isinstance(step, PasteAndEnter) else []
                self.terminal.type(LEAVE_COPY_MODE, paste, *enter, text=text.encode())
            case Wait(seconds):
                time.sleep(max(0.0, seconds))  # noqa: TID251 (a person waits, and a terminal reports nothing)
            case Do.LOOK:
                screen = self._look()
            case Do.LOCK:
                stack.enter_context(only_sender(self.terminal.server.socket, own, self.timeout))
            case Do.CHECK:
                self.still_running()
            case Do.WAITS:
                waits = self._waits()
            case Do.ENTER:
                self.terminal.type(("send-keys", "Enter"))
            case Do.UNREAD | Do.DISCARD:
                unread = _unread(own, discard=step is Do.DISCARD)
        return Reply(time.monotonic(), screen, unread, waits=waits)

    def _waits(self) -> bool | None:
        try:
            return None if self.pid is None else waits_for_input(self.pid, Path(str(self.terminal.pane.pane_tty)))
        except OSError:
            return None

    def _look(self) -> Screen:
        capture = ("capture-pane", "-p", "-t", self.terminal.pane_id)
        # One command, so that the cursor belongs to these rows.
        place, *rows = self.terminal.pane.cmd("display-message", "-p", "#{cursor_x} #{cursor_y}", ";", *capture).stdout
        column, row = map(int, place.split())
        return Screen.of(tuple(rows), column, row)

    def _said(self, error: SendingError) -> str:
        name, limit = self.terminal.agent, f"within {self.timeout:g} s"
        match error:
            case NoBoxError():
                return (
                    f"nothing was sent: {name} showed no empty input box {limit}, but {quote(str(error))}: "
                    f"see agentctl screen {name}; agentctl keys {name} answers a question; --force sends anyway"
                )
            case NotTypedError():
                return (
                    f"the message was pasted, but the input box of {name} did not show it {limit}; Enter was not "
                    f"pressed: see agentctl screen {name}"
                )
            case NotTakenError():
                return (
                    f"sent, not confirmed: the input box of {name} was not empty again {limit}: "
                    f"see agentctl screen {name}; agentctl keys {name} Enter presses Enter again"
                )
            case NotShownError():
                return (
                    f"sent, not confirmed: the screen of {name} did not show the message {limit}, and its terminal "
                    f"belongs to another user: see agentctl screen {name}"
                )
            case NotReadError():
                return (
                    f"{name} did not read its terminal {limit}: what it had not read was discarded, so that no shell "
                    "after it executes it; --timeout waits longer"
                )
            case LongLineError():
                return (
                    f"a line of the message has {error} bytes, and the agent's terminal takes {LONGEST_LINE}: break it,"
                    " or write it to a file and send the file's name"
                )
            case _:
                return str(error)


def _unread(own: AgentInput | None, *, discard: bool) -> int | None:
    if own is None:
        return None
    if discard:
        own.discard()
    return own.unread
