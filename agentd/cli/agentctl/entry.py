"""Parse ``agentctl``'s command line and run the command.

``agentctl --help`` ends here, so nothing is imported that it does not need.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from agentd import __version__
from agentd.cli.agentctl.catalogue import COMMANDS, STRUCTURED, SUMMARIES
from agentd.cli.agentctl.command import (
    NAMES_COMMAND,
    OUTPUT_FLAGS,
    CommandLineError,
    Commands,
    Parser,
    Status,
    add_gateway_options,
    add_shared_options,
    print_document,
    structured,
)
from agentd.cli.agentctl.help_layout import Overview
from agentd.files.streams import with_streams
from agentd.settings.flags import OPTIONS, SHARED_FIELDS

_DESCRIPTION = """\
Shows the agents that agentd runs, and edits the file that declares them.
New here? agentctl help getting-started"""

_EPILOG = """\
examples:
  agentctl status                     show how every agent is doing
  agentctl status --watch             the same, kept up to date
  agentctl attach reviewer            open the agent's terminal
  agentctl add fixer --harness codex  add an agent
  agentctl stop fixer --wait          stop it, keep its definition
  agentctl validate ./jcard.toml      check a file
  agentctl COMMAND --help             explain one command
  agentctl help                       list the topics: getting started, the jcard, states, secrets, sockets

exit status: 0 done, 1 failed, 2 usage, 3 agentd not reachable.
On a terminal, output is in tables and colour (NO_COLOR turns colour off). Elsewhere it is one line per item, with
fields separated by tabs, no heading, and - for an empty field."""

_INTERRUPTED = 130
"""128 and SIGINT: importing signal costs 1 ms."""

_FLAGS_WITH_VALUE = {*(option.flag for option in OPTIONS if option.field in SHARED_FIELDS), *OUTPUT_FLAGS}


_COLLECT_AFTER = 100_000
"""Objects allocated before garbage is collected. An editing command keeps 50 000, and collecting them again and again
took a fifth of its time; a command that runs for long stays far below."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Raises
    ------
    SystemExit
        With status 0, after ``--help`` and ``--version``.
    """
    gc.set_threshold(_COLLECT_AFTER)
    try:
        return with_streams("agentctl", lambda: _run(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        gc.freeze()


def _run(given: Sequence[str]) -> int:
    if given[:1] == [NAMES_COMMAND]:
        from agentd.cli.agentctl.names import print_names

        return print_names(given[1:])
    try:
        arguments = _parser_for(_called(given)).parse_args(given)
    except CommandLineError as error:
        print(error.usage, end="", file=sys.stderr)
        print(error, file=sys.stderr)
        if "--json" in given:
            command = _called(given)
            wrong = structured(command, str(error), Status.USAGE) if command in STRUCTURED else {"error": str(error)}
            print_document(wrong)
        return Status.USAGE
    from agentd.cli.agentctl.dispatch import dispatch

    return dispatch(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = _parser()
    commands = Commands(parser)
    for module in COMMANDS:
        _register(commands, module)
    return parser


def _parser_for(command: str | None) -> argparse.ArgumentParser:
    """Build only the parser that a command line needs: that of its command, or the list of all commands."""
    parser = _parser()
    if command is None:
        Commands(parser, only_names=True).name_all()
    else:
        _register(Commands(parser), _module_of(command))
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="agentctl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Overview,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"agentctl {__version__}")
    add_shared_options(parser)
    add_gateway_options(parser)
    return parser


def _module_of(command: str) -> str:
    return next(module for module, names in COMMANDS.items() if command in names)


def _register(commands: Commands, module: str) -> None:
    import_module(f"{__package__}.commands.{module}").register(commands)


def command_help(command: str) -> str:
    """Return what ``agentctl COMMAND --help`` prints."""
    commands = Commands(Parser(prog="agentctl"))
    _register(commands, _module_of(command))
    return commands.help_of(command)


def _called(arguments: Sequence[str]) -> str | None:
    """Find the command in a command line; ``None`` if there is none of that name."""
    words = iter(arguments)
    for word in words:
        if word in _FLAGS_WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word if word in SUMMARIES else None
    return None
