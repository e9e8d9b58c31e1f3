"""Completion for fish."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.cli.completion.grammar import Flag, Grammar, Value


def script(grammar: Grammar) -> str:
    """Write the script for fish: a line for each command that can be typed, with its condition."""
    return "\n".join([*_head(grammar), *_lines(grammar), ""])


def _head(grammar: Grammar) -> Iterator[str]:
    program = grammar.program
    yield f"# fish completion for {program}. To have it in every shell:"
    yield f"#   {program} completion fish > ~/.config/fish/completions/{program}.fish"
    yield f"function __{program}_names"
    yield "    set -l words (commandline -opc)"
    yield "    set -l socket"
    yield "    if set -l at (contains -i -- --api-socket $words)"
    yield "        set socket --api-socket $words[(math $at + 1)]"
    yield "    end"
    yield f"    {grammar.names} $socket 2>/dev/null"
    yield "end"
    yield f"complete -c {program} -f"


def _lines(grammar: Grammar) -> Iterator[str]:
    none = "__fish_use_subcommand"
    for flag in grammar.flags:
        yield _line(grammar.program, none, flag)
    for command in grammar.commands:
        yield f"complete -c {grammar.program} -n {none} -a {command.name} -d '{command.help}'"
    for command in grammar.commands:
        seen = f"'__fish_seen_subcommand_from {command.name}'"
        for flag in command.flags:
            yield _line(grammar.program, seen, flag)
        for argument in command.arguments:
            if offer := _offer(grammar.program, argument.value):
                yield f"complete -c {grammar.program} -n {seen} {offer}"


def _line(program: str, condition: str, flag: Flag) -> str:
    spellings = " ".join(
        f"-l {spelling[2:]}" if spelling.startswith("--") else f"-s {spelling[1:]}" for spelling in flag.spellings
    )
    value = "" if flag.value is None else f" -r {_offer(program, flag.value)}".rstrip()
    return f"complete -c {program} -n {condition} {spellings}{value} -d '{flag.help}'"


def _offer(program: str, value: Value) -> str:
    if value.names:
        return f"-a '(__{program}_names)'"
    if value.files:
        return "-F"
    return f"-a '{' '.join(value.words)}'" if value.words else ""
