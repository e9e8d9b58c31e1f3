"""The agents' terminals, read through tmux."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentd.cli.agentctl.client import UnreachableError, agent_from
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import agent_document
from agentd.cli.agentctl.tmux_client import TmuxClient
from agentd.jcard.quoting import printable, quote
from agentd.supervise.snapshot import AgentStatus
from agentd.tmux.syntax import session_target

_NO_SESSION = "can't find"
"""How tmux begins its answer about a session, window or pane that it does not have."""


class NoSessionError(CommandError):
    """The agent has no tmux session."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The tmux session of one agent."""

    agent: str
    session: str
    server: TmuxClient

    @property
    def pane(self) -> str:
        """The agent's own pane: the first one of window 0, whatever else an operator opened."""
        return f"{session_target(self.session)}:0.0"

    def ask(self, *command: str) -> list[str]:
        """Run tmux commands and give the lines they print, without blank ones at the end.

        Raises
        ------
        NoSessionError
            If the session is not there.
        CommandError
            If tmux refuses.
        """
        return ask(self.server, *command)


def ask(server: TmuxClient, *command: str) -> list[str]:
    """Run tmux commands and give the lines they print, without blank ones at the end.

    Raises
    ------
    NoSessionError
        If what they are about is not there.
    CommandError
        If tmux refuses, is not installed, or has no server on the socket.
    """
    try:
        answer = server.run(*command)
    except FileNotFoundError:
        raise CommandError(
            "there is no tmux on the PATH: install it (apt-get install tmux, brew install tmux)"
        ) from None
    if answer.status != 0:
        text = printable("; ".join(answer.err.splitlines()))
        raise (
            NoSessionError(text)
            if text.startswith(_NO_SESSION)
            else CommandError(f"tmux: {text}; agentctl doctor looks for the cause")
        )
    return list(answer.out)


def open_terminal(invocation: Invocation) -> Terminal:
    """Find the session of the agent that the command line names.

    Without a daemon the session of that name is taken: agents outlive their supervisor.

    Raises
    ------
    NoSessionError
        If the agent has none.
    CommandError
        If there is no such agent, or tmux refuses.
    UnreachableError
        If neither a daemon answers nor a session has that name.
    """
    try:
        agent = agent_from(agent_document(invocation.api, invocation.name()))
    except UnreachableError as unreachable:
        return _without_daemon(invocation, TmuxClient(invocation.settings.tmux_socket), unreachable)
    return terminal_of(invocation, agent)


def terminal_of(invocation: Invocation, agent: AgentStatus) -> Terminal:
    """Find the session of an agent.

    Raises
    ------
    NoSessionError
        If the agent has none.
    CommandError
        If tmux refuses.
    """
    server = TmuxClient(invocation.settings.tmux_socket)
    try:
        ask(server, "has-session", "-t", session_target(agent.session))
    except NoSessionError:
        raise NoSessionError(_no_session(agent)) from None
    return Terminal(agent.name, agent.session, server)


def _without_daemon(invocation: Invocation, server: TmuxClient, unreachable: UnreachableError) -> Terminal:
    name = invocation.name()
    try:
        ask(server, "has-session", "-t", session_target(name))
    except CommandError:
        raise unreachable from None
    invocation.warn(
        f"agentd is not reachable on {printable(str(invocation.api.path))}: {unreachable};"
        f" taking the tmux session {quote(name)}"
    )
    return Terminal(name, name, server)


def _no_session(agent: AgentStatus) -> str:
    reason = f": {agent.error}" if agent.error else ""
    return f"{agent.name} has no tmux session; it is {agent.state}{reason}: agentctl status {agent.name} says more"


def terminal_document(terminal: Terminal, lines: Sequence[str]) -> dict[str, object]:
    """Give lines of a terminal as JSON values."""
    return {"name": terminal.agent, "session": terminal.session, "lines": list(lines)}
