"""Read what can be typed after ``agentctl`` from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentd.model.states import AgentState
from agentd.tmux.key_names import NAMED


@dataclass(frozen=True, slots=True)
class Value:
    """What an option or an argument takes."""

    words: tuple[str, ...] = ()
    """The choices."""
    names: bool = False
    """An agent's name."""
    files: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """An option."""

    spellings: tuple[str, ...]
    help: str
    value: Value | None
    """``None`` if it takes no value."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument."""

    value: Value
    repeats: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """All commands and options."""

    program: str
    flags: tuple[Flag, ...]
    """Those before a command."""
    commands: tuple[Command, ...]
    names: str
    """Command line that prints the agents' names."""


def grammar_of(parser: argparse.ArgumentParser, names_command: str) -> Grammar:
    """Read a parser with commands.

    Parameters
    ----------
    names_command
        The hidden command that prints the agents' names.
    """
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001 (argparse has no public list)
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}  # noqa: SLF001
    words = tuple(
        Command(name, _plain(helps.get(name)), tuple(_flags(command)), tuple(_arguments(command)))
        for name, command in commands.choices.items()
    )
    return Grammar(parser.prog, tuple(_flags(parser)), words, f"{parser.prog} {names_command}")


def _flags(parser: argparse.ArgumentParser) -> Iterator[Flag]:
    for action in parser._actions:  # noqa: SLF001
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield Flag(tuple(action.option_strings), _plain(action.help), None if action.nargs == 0 else _value(action))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    for action in parser._actions:  # noqa: SLF001
        if not action.option_strings:
            yield Argument(_value(action), action.nargs in ("+", "*"))


def _value(action: argparse.Action) -> Value:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if metavar.startswith("STATE"):
        return Value(words=tuple(AgentState))
    if action.choices is not None:
        return Value(words=tuple(map(str, action.choices)))
    if metavar == "KEY":
        return Value(words=NAMED)
    return Value(names=metavar in ("NAME", "OLD") and not action.option_strings, files=metavar in ("FILE", "PATH"))


def _plain(text: str | None) -> str:
    return (text or "").replace("%%", "%").partition(" [")[0].replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


def distinct(flags: Sequence[Flag]) -> str:
    """Join all spellings with spaces."""
    return " ".join(spelling for flag in flags for spelling in flag.spellings)
