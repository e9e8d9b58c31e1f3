"""Find and use agents' terminals through tmux."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.cli.agentctl.client import UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.tmux import NoSessionError, Pane, Server
from agentd.launch.script_path import launched_run
from agentd.model.status import AgentStatus
from agentd.text.quoting import printable, quote
from agentd.tmux.guard import guarded, refusal
from agentd.tmux.syntax import command, pane_target

LEAVE_COPY_MODE = ("copy-mode", "-q")
"""Precedes keys and pasted text, which tmux would take for commands in copy mode."""


class NotTypedError(CommandError):
    """The pane does not hold the agent's run; nothing was typed."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The pane of one agent, wherever an operator has moved it."""

    agent: str
    session: str
    server: Server
    pane: Pane

    @property
    def pane_id(self) -> str:
        """The pane's id, which stays when an operator moves the pane."""
        return str(self.pane.pane_id)

    def type(self, *commands: Sequence[str], text: bytes | None = None) -> None:
        """Execute tmux commands in the pane if it holds the agent's run at that moment.

        Parameters
        ----------
        commands
            Their words, without the pane.
        text
            Content of the buffer `self.buffer` meanwhile.

        Raises
        ------
        NotTypedError
            If it does not hold the run; nothing was typed.
        CommandError
            If tmux refuses.
        """
        pid = int(str(self.pane.pane_pid))
        # The text must not be on a command line.
        load = () if text is None else ("load-buffer", "-b", self.buffer, "-", ";")
        written = (command(name, "-t", self.pane_id, *words) for name, *words in commands)
        words = (*load, *guarded(self.pane_id, pid, *written))
        try:
            reason = refusal(self.server.cmd(words[0], *words[1:], text=text).stdout, pid)
            if reason is not None:
                look = f"agentctl status {self.agent}"
                raise NotTypedError(f"{self.agent}: nothing was entered, since {reason}: see {look}", "conflict", look)
        except CommandError:
            if text is not None:
                with contextlib.suppress(CommandError):
                    self.server.delete_buffer(buffer_name=self.buffer)
            raise

    @property
    def buffer(self) -> str:
        """Name of our tmux buffer."""
        return f"agentctl-{os.getpid()}"


def open_terminal(invocation: Invocation) -> Terminal:
    """Find the terminal of the agent that the command line names.

    Without a daemon, it is the one in the session of that name: agents outlive their supervisor.

    Raises
    ------
    NoSessionError
        If the agent has none.
    CommandError
        If there is no such agent, or tmux refuses.
    UnreachableError
        If no daemon answers and no session of that name has a pane of agentd's.
    """
    try:
        agent = find_agent(invocation.api, invocation.name())
    except UnreachableError as unreachable:
        return _without_daemon(invocation, unreachable)
    return terminal_of(invocation, agent)


def terminal_of(invocation: Invocation, agent: AgentStatus) -> Terminal:
    """Find the terminal of an agent.

    Raises
    ------
    NoSessionError
        If the agent has none, or another run is in it.
    CommandError
        If tmux refuses.
    """
    if agent.pane is None or agent.pane_pid is None:
        raise NoSessionError(_no_session(agent), "not_running", f"agentctl status {agent.name}")
    server = Server(invocation.settings.tmux_socket)
    try:
        panes = server.find_panes("-t", agent.pane)
    except NoSessionError:
        panes = []
    for pane in panes:
        if (pane.pane_id, pane.pane_pid) == (agent.pane, str(agent.pane_pid)):
            return Terminal(agent.name, agent.session, server, pane)
    look = f"agentctl status {agent.name}"
    gone = f"the pane {agent.pane} of {agent.name} is gone, or holds another run: see {look}"
    raise NoSessionError(gone, "not_running", look)


def _without_daemon(invocation: Invocation, unreachable: UnreachableError) -> Terminal:
    name, server = invocation.name(), Server(invocation.settings.tmux_socket)
    try:
        panes = server.find_panes("-s", "-t", pane_target(name))
    except CommandError:
        raise unreachable from None
    for pane in panes:
        if launched_run(str(pane.pane_start_command)) is not None:
            invocation.warn(
                f"agentd is not reachable on {printable(str(invocation.api.path))}: {unreachable};"
                f" using the tmux session {quote(name)}"
            )
            return Terminal(name, name, server, pane)
    raise unreachable


def _no_session(agent: AgentStatus) -> str:
    reason = f": {agent.error}" if agent.error else ""
    return f"{agent.name} has no tmux session; it is {agent.state}{reason}: see agentctl status {agent.name}"
