"""Write manual pages with the macros of man(7)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from agentd import __version__
from agentd.cli.manual.topics import TOPICS
from agentd.settings.daemon_parser import build_parser

_OF_THE_DAEMON = ("jcard", "secrets", "states", "sockets")


def agentctl_page(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Write the lines of agentctl(1), from its parser with all commands."""
    yield from _head(parser, "operate the agents that agentd runs")
    yield from _options(parser)
    yield ".SH COMMANDS"
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001 (argparse has no public list)
    shared = {action.dest for action in parser._actions}  # noqa: SLF001
    for command in commands.choices.values():
        yield f".SS {_text(_usage(command, shared))}"
        yield from _paragraphs(command.description or "")
        yield from _arguments(command, shared)
        yield from _paragraphs((command.epilog or "").replace("examples:", "Examples:\n"))
    for name in ("getting-started", "exit-status", "sockets"):
        yield f".SH {name.replace('-', ' ').upper()}"
        yield from _paragraphs(TOPICS[name].text())
    yield ".SH SEE ALSO"
    yield r".BR agentd (1),"
    yield r".BR tmux (1)"


def agentd_page() -> Iterator[str]:
    """Write the lines of agentd(1)."""
    parser = build_parser()
    yield from _head(parser, "run AI coding agents the way systemd runs services")
    yield from _options(parser)
    for name in _OF_THE_DAEMON:
        yield f".SH {name.upper()}"
        yield from _paragraphs(TOPICS[name].text())
    yield ".SH SEE ALSO"
    yield r".BR agentctl (1),"
    yield r".BR tmux (1)"


def _head(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    yield r".\" Written by scripts/reference.py from the code: make docs."
    yield f'.TH {parser.prog.upper()} 1 "" "agentd {__version__}" "agentd"'
    yield ".SH NAME"
    yield rf"{parser.prog} \- {summary}"
    yield ".SH SYNOPSIS"
    yield _text(_usage(parser, set()))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(parser.description or "")
    if "examples:" not in (parser.epilog or ""):
        yield from _paragraphs(parser.epilog or "")


def _usage(parser: argparse.ArgumentParser, without: set[str]) -> str:
    if parser.usage is not None:
        return parser.usage
    places = []
    for action in parser._actions:  # noqa: SLF001
        if action.option_strings:
            continue
        word = str(action.metavar or action.dest)
        more = "..." if action.nargs in ("+", "*") else ""
        places.append(f"[{word}]" if action.nargs in ("?", "*") else word + more)
    options = "[OPTIONS]" if any(a.option_strings and a.dest not in without for a in parser._actions) else ""  # noqa: SLF001
    return " ".join(filter(None, [parser.prog, options, *places]))


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield ".SH OPTIONS"
    yield from _arguments(parser, set())


def _arguments(parser: argparse.ArgumentParser, without: set[str]) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001
        if action.dest in without or action.help == argparse.SUPPRESS:
            continue
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest}"
        name = ", ".join(f"{option}{value}" for option in action.option_strings) or str(action.metavar or action.dest)
        yield ".TP"
        yield f".B {_text(name)}"
        yield _text((action.help or "").replace("%%", "%"))


def _paragraphs(text: str) -> Iterator[str]:
    """Set running text; lines that begin with two spaces are kept as they are."""
    for shown, lines in _blocks(text):
        if shown:
            yield from (".PP", ".nf", ".RS 2", *(_text(line.removeprefix("  ")) for line in lines), ".RE", ".fi")
        else:
            yield from (".PP", *map(_text, lines))


def _blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        same = bool(block) and bool(line) and line.startswith("  ") == block[0].startswith("  ")
        if block and not same:
            yield block[0].startswith("  "), block
            block = []
        if line:
            block.append(line)


def _text(text: str) -> str:
    """Escape what troff would interpret: backslashes, dashes, dots and quotes at the beginning of a line."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^(?=[.'])", r"\\&", text)
