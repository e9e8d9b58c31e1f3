"""The agents' terminals, read through tmux."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.cli.agentctl.client import UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.tmux_client import TmuxClient
from agentd.model.status import AgentStatus
from agentd.text.quoting import printable, quote
from agentd.tmux.guard import guarded, refusal
from agentd.tmux.syntax import pane_target

_PANE = "#{pane_id} #{pane_pid} #{pane_start_command}"
_PANE_LINE = re.compile(r"(%[0-9]{1,10}) ([0-9]{1,10}) (.*)", re.ASCII)
_NO_SESSION = "can't find"
"""How tmux begins its answer about a session, window or pane that it does not have."""


class NoSessionError(CommandError):
    """The agent has no tmux session."""


class NotTypedError(CommandError):
    """The pane does not hold what was to be typed to: nothing was typed."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The pane of one agent, wherever it is."""

    agent: str
    session: str
    server: TmuxClient
    pane: str
    """Its id: other than its place, an operator does not change that."""
    pid: int
    """Process that tmux started in it."""

    def tty(self) -> str:
        """Path of the pane's terminal.

        Raises
        ------
        NoSessionError
            If the pane is gone, or another run is in it.
        CommandError
            If tmux refuses.
        """
        pid, _, tty = "".join(self.ask("display-message", "-p", "-t", self.pane, "#{pane_pid} #{pane_tty}")).partition(
            " "
        )
        if pid != str(self.pid):
            raise NoSessionError(
                f"the pane {self.pane} of {self.agent} is gone, or holds another run;"
                f" agentctl status {self.agent} says more"
            )
        return tty

    def type(self, *commands: str, text: bytes | None = None) -> None:
        """Execute tmux commands that type, if the pane holds the agent's run at that moment.

        Parameters
        ----------
        commands
            Written for tmux' parser.
        text
            What the buffer `self.buffer` holds meanwhile.

        Raises
        ------
        NotTypedError
            If it does not; nothing was typed.
        CommandError
            If tmux refuses.
        """
        words = guarded(self.pane, self.pid, *commands)
        if text is None:
            lines = self.ask(*words)
        else:
            # No text is on a command line.
            load = ("load-buffer", "-b", self.buffer, "-", ";")
            try:
                lines = self.ask(*load, *words, text=text)
            except CommandError:
                self._drop_buffer()
                raise
        reason = refusal(lines, self.pid)
        if reason is None:
            return
        if text is not None:
            self._drop_buffer()
        raise NotTypedError(
            f"{self.agent}: nothing was entered, since {reason}; agentctl status {self.agent} says more"
        )

    @property
    def buffer(self) -> str:
        """Name of this process' buffer in tmux."""
        return f"agentctl-{os.getpid()}"

    def _drop_buffer(self) -> None:
        with contextlib.suppress(CommandError):
            self.ask("delete-buffer", "-b", self.buffer)

    def ask(self, *command: str, text: bytes | None = None) -> list[str]:
        """Run tmux commands and give the lines they print, without blank ones at the end.

        Raises
        ------
        NoSessionError
            If the session is not there.
        CommandError
            If tmux refuses.
        """
        return ask(self.server, *command, text=text)


def ask(server: TmuxClient, *command: str, text: bytes | None = None) -> list[str]:
    """Run tmux commands and give the lines they print, without blank ones at the end.

    Raises
    ------
    NoSessionError
        If what they are about is not there.
    CommandError
        If tmux refuses, is not installed, or has no server on the socket.
    """
    try:
        answer = server.run(*command, text=text)
    except FileNotFoundError:
        raise CommandError(
            "there is no tmux on the PATH: install it (apt-get install tmux, brew install tmux)"
        ) from None
    if answer.status != 0:
        reason = printable("; ".join(answer.err.splitlines()))
        raise (
            NoSessionError(reason)
            if reason.startswith(_NO_SESSION)
            else CommandError(f"tmux: {reason}; agentctl doctor looks for the cause")
        )
    return list(answer.out)


def open_terminal(invocation: Invocation) -> Terminal:
    """Find the terminal of the agent that the command line names.

    Without a daemon it is looked for in the session of that name: agents outlive their supervisor.

    Raises
    ------
    NoSessionError
        If the agent has none.
    CommandError
        If there is no such agent, or tmux refuses.
    UnreachableError
        If neither a daemon answers nor a session of that name has a pane that agentd opened.
    """
    try:
        agent = find_agent(invocation.api, invocation.name())
    except UnreachableError as unreachable:
        return _without_daemon(invocation, TmuxClient(invocation.settings.tmux_socket), unreachable)
    return terminal_of(invocation, agent)


def terminal_of(invocation: Invocation, agent: AgentStatus) -> Terminal:
    """Give the terminal of an agent.

    Raises
    ------
    NoSessionError
        If the agent has none.
    """
    if agent.pane is None or agent.pane_pid is None:
        raise NoSessionError(_no_session(agent))
    server = TmuxClient(invocation.settings.tmux_socket)
    return Terminal(agent.name, agent.session, server, agent.pane, agent.pane_pid)


def _without_daemon(invocation: Invocation, server: TmuxClient, unreachable: UnreachableError) -> Terminal:
    from agentd.launch.rundir import launched_run

    name = invocation.name()
    try:
        panes = ask(server, "list-panes", "-s", "-t", pane_target(name), "-F", _PANE)
    except CommandError:
        raise unreachable from None
    # The server is in the agents' hands: a line need not look like one of tmux'.
    found = filter(None, map(_PANE_LINE.fullmatch, panes))
    opened = next((fields for fields in found if launched_run(fields[3]) is not None), None)
    if opened is None:
        raise unreachable
    invocation.warn(
        f"agentd is not reachable on {printable(str(invocation.api.path))}: {unreachable};"
        f" taking the tmux session {quote(name)}"
    )
    return Terminal(name, name, server, opened[1], int(opened[2]))


def _no_session(agent: AgentStatus) -> str:
    reason = f": {agent.error}" if agent.error else ""
    return f"{agent.name} has no tmux session; it is {agent.state}{reason}: agentctl status {agent.name} says more"


def terminal_document(terminal: Terminal, lines: Sequence[str]) -> dict[str, object]:
    """Give lines of a terminal as JSON values."""
    return {"name": terminal.agent, "session": terminal.session, "lines": list(lines)}
