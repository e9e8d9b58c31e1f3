"""``agentctl screen``."""

from __future__ import annotations

import re
from dataclasses import asdict

from agentd.cli.agentctl.client import NOT_FOUND, ApiError, UnreachableError, view
from agentd.cli.agentctl.command import Commands, Invocation, Status, add_fleet, add_name
from agentd.cli.agentctl.lookup import agent_path, unknown
from agentd.model.screen import Screen

_DETAILS = """\
Prints what the agent's terminal shows now; in colour only on a terminal. Without a daemon, reads the tmux session of
that name."""

_EXAMPLES = """\
agentctl screen reviewer-0
agentctl screen reviewer-0 --json | jq -r '.lines[-1]'"""

_OTHER_THAN_STYLE = re.compile(r"\x1b(?!\[[0-9;:]*m)")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("screen", _screen, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    add_fleet(parser)


def _screen(invocation: Invocation) -> Status:
    path = agent_path(invocation.name(), "/screen")
    styled = invocation.display.colour and not invocation.as_json
    try:
        if styled:
            lines = invocation.api.read(f"{path}?format=ansi").decode("utf-8", "replace").splitlines()
        else:
            screen = view(Screen, invocation.api.get(f"{path}?format=json"))
            if invocation.as_json:
                invocation.print_document(asdict(screen))
                return Status.DONE
            lines = list(screen.lines)
    except ApiError as error:
        if error.status == NOT_FOUND:
            raise unknown(invocation.api, invocation.name()) from None
        raise
    except UnreachableError:
        if invocation.fleet:
            raise
        return _from_tmux(invocation)
    _print(invocation, lines)
    return Status.DONE


def _from_tmux(invocation: Invocation) -> Status:
    """Print the screen without a daemon: agents outlive their supervisor."""
    from agentd.cli.agentctl.terminals import open_terminal

    terminal = open_terminal(invocation)
    lines = terminal.pane.capture_pane(escape_sequences=invocation.display.colour and not invocation.as_json)
    if invocation.as_json:
        invocation.print_document({"name": terminal.agent, "session": terminal.session, "lines": lines})
    else:
        _print(invocation, lines)
    return Status.DONE


def _print(invocation: Invocation, lines: list[str]) -> None:
    invocation.print(_OTHER_THAN_STYLE.sub("", line) for line in lines)
    if invocation.display.colour:
        print(end="\x1b[0m")
