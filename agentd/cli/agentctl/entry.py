"""``agentctl``'s command line: parsing it, running the command, reporting what went wrong."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from agentd import __version__
from agentd.cli.agentctl.client import Api, ApiError, UnreachableError
from agentd.cli.agentctl.command import (
    NAMES_COMMAND,
    SHARED_FIELDS,
    CommandError,
    Commands,
    Invocation,
    Parser,
    Status,
    add_shared_options,
    print_document,
)
from agentd.cli.options import settings_from
from agentd.cli.terminal import display_of
from agentd.daemon.settings import OPTIONS, SettingsError
from agentd.jcard.quoting import printable

_DESCRIPTION = "Looks at the agents that agentd runs, and edits the file that says which."

_EPILOG = """\
examples:
  agentctl status                     how every agent is doing
  agentctl status --watch             the same, kept up to date
  agentctl attach reviewer            into the agent's terminal
  agentctl add fixer --harness codex  one agent more
  agentctl stop fixer --wait          and not, for now
  agentctl validate ./jcard.toml      is this file good?
  agentctl COMMAND --help             more of one command
  agentctl help                       topics: getting started, the jcard, states, secrets, sockets

exit status: 0 done, 1 failed, 2 usage, 3 agentd not reachable.
On a terminal there are tables and colour (not with NO_COLOR set); elsewhere one line for each thing, fields
separated by tabs, no heading, - for an empty field."""

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "status": ("status", "list"),
    "logs": ("logs",),
    "screen": ("screen",),
    "attach": ("attach",),
    "talk": ("send", "keys", "interrupt"),
    "events": ("events",),
    "wait": ("wait",),
    "hire": ("init", "hire"),
    "add": ("add",),
    "change": ("set", "unset", "scale", "rename", "remove"),
    "running": ("start", "stop", "restart"),
    "worktrees": ("worktrees",),
    "diff": ("diff",),
    "collect": ("collect",),
    "validate": ("validate",),
    "plan": ("plan",),
    "schema": ("schema",),
    "doctor": ("doctor",),
    "service": ("service",),
    "completion": ("completion",),
    "help": ("help",),
}
"""The commands of each module of this package, in the order of the help. Only the module of the command that is called
is imported: each costs 1 to 2 ms, its parser not counted."""

_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 128 + signal.SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give the exit status.

    Raises
    ------
    SystemExit
        With status 2 for a command line that cannot be understood, 0 after ``--help`` and ``--version``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == [NAMES_COMMAND]:
        from agentd.cli.agentctl.completion import print_names

        return print_names(given[1:])
    arguments = build_parser(_called(given)).parse_args(given)
    as_json = bool(getattr(arguments, "json", False))
    try:
        exit_status = int(_run(arguments, as_json))
        sys.stdout.flush()
    except BrokenPipeError:
        # `agentctl list | head -1` ends without a word, at the interpreter's own last flush too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SettingsError as error:
        return _report(str(error), Status.USAGE, as_json)
    except CommandError as error:
        return _report(str(error), error.status, as_json)
    except ApiError as error:
        return _report(str(error), Status.FAILED, as_json)
    return exit_status


def _run(arguments: argparse.Namespace, as_json: bool) -> Status:
    settings = settings_from(arguments, os.environ)
    invocation = Invocation(
        arguments=arguments,
        settings=settings,
        api=Api(settings.api_socket),
        display=display_of(sys.stdout, os.environ),
        as_json=as_json,
    )
    try:
        command_status: Status = arguments.run(invocation)
    except UnreachableError as error:
        return _report(
            f"agentd is not reachable on {settings.api_socket}: {error}{_advice(invocation)}",
            Status.UNREACHABLE,
            as_json,
        )
    return command_status


def _advice(invocation: Invocation) -> str:
    option = next(option for option in OPTIONS if option.field == "api_socket")
    elsewhere = option.as_root
    if elsewhere != str(invocation.api.path) and Path(elsewhere).exists():
        return f"; there is a socket of the system's agentd: try {option.flag} {elsewhere}"
    return f"; start agentd, or name its socket with {option.flag} or {option.environment}"


def _report(message: str, status: Status, as_json: bool) -> Status:
    """Say on stderr what went wrong; with ``--json`` on stdout too, so that there always is one document."""
    if as_json:
        print_document({"error": message})
    print(f"agentctl: {printable(message)}", file=sys.stderr)
    return status


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of all commands, or of one and those in the same module."""
    parser = Parser(
        prog="agentctl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"agentctl {__version__}")
    add_shared_options(parser)
    commands = Commands(parser)
    _register(commands, command)
    return parser


def _register(commands: Commands, command: str | None) -> None:
    for module, names in _COMMANDS.items():
        if command is None or command in names:
            import_module(f"{__package__}.{module}").register(commands)


def known_commands() -> list[str]:
    """List the commands, in the order of the help."""
    return [name for names in _COMMANDS.values() for name in names]


def command_help(command: str) -> str:
    """Give what ``agentctl COMMAND --help`` prints."""
    commands = Commands(Parser(prog="agentctl"))
    _register(commands, command)
    return commands.help_of(command)


def _called(arguments: Sequence[str]) -> str | None:
    """Find the command that is called, if there is one of that name."""
    valued = {option.flag for option in OPTIONS if option.field in SHARED_FIELDS}
    words = iter(arguments)
    for word in words:
        if word in valued:
            next(words, None)
        elif not word.startswith("-"):
            return word if word in known_commands() else None
    return None
