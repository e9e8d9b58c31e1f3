"""What can be typed after ``agentctl``, as the parser knows it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentd.cli.agentctl.key_names import NAMED
from agentd.model.states import AgentState


@dataclass(frozen=True, slots=True)
class Value:
    """What an option or a place on the command line takes."""

    words: tuple[str, ...] = ()
    """All there is to choose from."""
    names: bool = False
    """An agent's name."""
    files: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """An option."""

    spellings: tuple[str, ...]
    help: str
    value: Value | None
    """``None``: it takes none."""


@dataclass(frozen=True, slots=True)
class Place:
    """An argument that is no option."""

    value: Value
    repeats: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A command."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """All of it."""

    program: str
    flags: tuple[Flag, ...]
    """Before a command."""
    commands: tuple[Word, ...]


def grammar_of(parser: argparse.ArgumentParser) -> Grammar:
    """Read a parser with commands."""
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001 (argparse has no public list)
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}  # noqa: SLF001
    words = tuple(
        Word(name, _plain(helps.get(name)), tuple(_all_flags(command)), tuple(_places(command)))
        for name, command in commands.choices.items()
    )
    return Grammar(parser.prog, tuple(_flags(parser)), words)


def _flags(parser: argparse.ArgumentParser) -> Iterator[Flag]:
    for action in parser._actions:  # noqa: SLF001
        if action.option_strings and action.help != argparse.SUPPRESS:
            yield Flag(tuple(action.option_strings), _plain(action.help), None if action.nargs == 0 else _value(action))


def _all_flags(parser: argparse.ArgumentParser) -> Iterator[Flag]:
    """Those of a command, and of the commands that it has itself."""
    parsers = [parser]
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            parsers += action.choices.values()
    known: set[tuple[str, ...]] = set()
    for each in parsers:
        for flag in _flags(each):
            if flag.spellings not in known:
                known.add(flag.spellings)
                yield flag


def _places(parser: argparse.ArgumentParser) -> Iterator[Place]:
    for action in parser._actions:  # noqa: SLF001
        if not action.option_strings:
            yield Place(_value(action), action.nargs in ("+", "*"))
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                # The arguments of further commands are those of the first: all take an agent's name, or nothing.
                yield from _places(next(iter(action.choices.values())))


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
    """Write all spellings, separated by spaces."""
    return " ".join(spelling for flag in flags for spelling in flag.spellings)
