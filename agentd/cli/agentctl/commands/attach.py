"""``agentctl attach``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_fleet, add_name
from agentd.cli.agentctl.tmux_client import environment, owner_of
from agentd.text.quoting import printable
from agentd.tmux.syntax import literal

_DETAILS = """\
Shows the agent's terminal; what you type reaches the agent. C-b d (or d after the tmux server's own prefix) detaches
and leaves the agent running. Works inside another tmux too; there, type the prefix twice.
With --json, prints the tmux command line instead of running it. With --fleet, runs agentctl attach on the agent's host
by ssh; AGENTD_FLEET_SSH is another command for that (ssh -t), AGENTD_FLEET_AGENTCTL what agentctl is called there."""

_EXAMPLES = """\
agentctl attach reviewer-0
agentctl attach --fleet reviewer-0
agentctl attach reviewer-0 --json | jq -r '.argv | @sh'"""

_HINT_SHOWN = "4000"
"""Milliseconds."""
_EVERY_TERMINAL = "xterm-256color"
"""A terminal type that every terminfo has, and that nearly every terminal understands."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("attach", _attach, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    add_fleet(parser)


def _attach(invocation: Invocation) -> Status:
    if invocation.fleet:
        return _attach_there(invocation)
    from agentd.cli.agentctl.terminals import open_terminal

    terminal = open_terminal(invocation)
    pane = terminal.pane_id
    # The agent's own window and pane, whatever another operator has selected.
    argv = [
        *("tmux", "-S", str(invocation.settings.tmux_socket), "attach-session", "-t", pane),
        *(";", "select-window", "-t", pane, ";", "select-pane", "-t", pane),
    ]
    if invocation.as_json:
        invocation.print_document({"name": terminal.agent, "session": terminal.session, "argv": argv})
        return Status.DONE
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("attach needs a terminal; agentctl screen and agentctl logs do not")
    around = {**environment(os.environ), "TERM": _terminal_type(os.environ.get("TERM", ""))}
    prefix = "".join(terminal.server.cmd("show-options", "-gv", "prefix").stdout)
    hint = f"{printable(prefix)} d detaches; the agent keeps running"
    print(f"attaching to {printable(terminal.session)}: {hint}", file=sys.stderr, flush=True)
    argv += [";", "display-message", "-d", _HINT_SHOWN, literal(hint)]
    owner = owner_of(terminal.server.socket)
    if owner is None:
        return _become(argv, around)
    from agentd.cli.agentctl.own_terminal import run_in_own_terminal

    if run_in_own_terminal(argv, around, owner) != 0:
        raise CommandError("tmux failed; its error is above")
    return Status.DONE


def _attach_there(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.fleet.client import FleetClient
    from agentd.cli.agentctl.fleet.overview import address_of
    from agentd.cli.agentctl.fleet.remote import SSH_VARIABLE, attach_argv

    found = address_of(FleetClient(invocation.api), invocation.name())
    argv = attach_argv(found.address, found.agent, os.environ)
    if invocation.as_json:
        invocation.print_document({"name": found.agent, "host": found.host, "argv": argv})
        return Status.DONE
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("attach needs a terminal; agentctl screen and agentctl logs do not")
    try:
        _become(argv, os.environ)
    except OSError as error:
        raise CommandError(
            f"{argv[0]}: {error.strerror}; set {SSH_VARIABLE} to the command that reaches hosts"
        ) from None


def _terminal_type(name: str) -> str:
    """Choose a terminal type that tmux can use; over ssh that of the terminal is often unknown here.

    Raises
    ------
    CommandError
        If the terminal cannot move its cursor.
    """
    import curses

    try:
        curses.setupterm(name)
    except curses.error:
        print(f"TERM={printable(name)} is unknown here: attaching as {_EVERY_TERMINAL}", file=sys.stderr, flush=True)
        return _EVERY_TERMINAL
    if curses.tigetstr("clear") and curses.tigetstr("cup"):
        return name
    raise CommandError(
        f"attach needs a terminal that can move its cursor, and TERM={printable(name)} cannot;"
        f" if yours can: TERM={_EVERY_TERMINAL} agentctl attach NAME"
    )


def _become(argv: list[str], environ: Mapping[str, str]) -> NoReturn:
    # Python ignores it, and exec keeps ignored signals ignored.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvpe(argv[0], argv, environ)  # noqa: S606 (arguments are never a shell string)
