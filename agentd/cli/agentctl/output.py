"""``agentctl logs`` and ``agentctl screen``."""

from __future__ import annotations

import argparse
import re

from agentd.cli.agentctl.command import Commands, Invocation, Status, UsageError, add_name

_LOGS_DETAILS = """\
Reads the scrollback of the agent's terminal, at least the last 50 000 lines. -f goes on until C-c; it shows a line
once the cursor has left it, as wide as the terminal. What a full-screen program draws is not in the scrollback:
see agentctl screen."""

_LOGS_EXAMPLES = """\
agentctl logs reviewer-0
agentctl logs reviewer-0 -n 20
agentctl logs reviewer-0 -f | grep --line-buffered ERROR"""

_SCREEN_DETAILS = """\
Prints what the agent's terminal shows now, without its colours elsewhere than on a terminal."""

_SCREEN_EXAMPLES = """\
agentctl screen reviewer-0
agentctl screen reviewer-0 --json | jq -r '.lines[-1]'"""

_OTHER_THAN_STYLE = re.compile(r"\x1b(?!\[[0-9;:]*m)")


def register(commands: Commands) -> None:
    """Add both commands."""
    logs = commands.add(
        "logs", "print what an agent has written", _logs, details=_LOGS_DETAILS, examples=_LOGS_EXAMPLES
    )
    add_name(logs)
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what it writes from now on")
    logs.add_argument("-n", "--lines", metavar="N", type=_line_count, help="only the last N lines")
    add_name(
        commands.add("screen", "print an agent's screen", _screen, details=_SCREEN_DETAILS, examples=_SCREEN_EXAMPLES)
    )


def _line_count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, found {text!r}")
    return int(text)


def _logs(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.terminals import open_terminal, terminal_document

    wanted: int | None = invocation.arguments.lines
    if invocation.arguments.follow:
        if invocation.as_json:
            raise UsageError("-f never ends, so it has no --json; leave one of them out")
        from agentd.cli.agentctl.follow import follow

        follow(open_terminal(invocation), wanted, invocation)
        return Status.DONE
    terminal = open_terminal(invocation)
    # -J joins what only the width of the terminal broke, and keeps the spaces at the ends of lines.
    lines = [line.rstrip() for line in terminal.ask("capture-pane", "-p", "-J", "-S", "-", "-t", terminal.pane)]
    if wanted is not None:
        lines = lines[-wanted:] if wanted else []
    if invocation.as_json:
        invocation.print_document(terminal_document(terminal, lines))
    else:
        invocation.print(lines)
    return Status.DONE


def _screen(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.terminals import open_terminal, terminal_document

    terminal = open_terminal(invocation)
    if invocation.as_json or not invocation.display.colour:
        lines = terminal.ask("capture-pane", "-p", "-t", terminal.pane)
    else:
        coloured = terminal.ask("capture-pane", "-p", "-e", "-t", terminal.pane)
        lines = [_OTHER_THAN_STYLE.sub("", line) for line in coloured]
    if invocation.as_json:
        invocation.print_document(terminal_document(terminal, lines))
    else:
        invocation.print(lines)
        if invocation.display.colour:
            print(end="\x1b[0m")
    return Status.DONE
