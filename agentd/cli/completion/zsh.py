"""Completion for zsh."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.cli.agentctl.command import NAMES_COMMAND
from agentd.cli.completion.grammar import Flag, Grammar, Place, Value


def script(grammar: Grammar) -> str:
    """Write what zsh reads: each command's arguments in the notation of its ``_arguments``."""
    name = f"_{grammar.program}"
    commands = "\n".join(f"    '{word.name}:{_text(word.help)}'" for word in grammar.commands)
    cases = "\n".join(
        f"    {word.name})\n      _arguments -s -S {_lines([*_flags(word.flags), *_places(word.places, name)])} ;;"
        for word in grammar.commands
    )
    return f"""#compdef {grammar.program}
# zsh completion for {grammar.program}. For every shell: as a file _{grammar.program} in a folder of $fpath.
{name}_names() {{
  local -a socket names
  (( ${{+opt_args[--api-socket]}} )) && socket=(--api-socket "${{(Q)opt_args[--api-socket]}}")
  names=(${{(f)"$({grammar.program} {NAMES_COMMAND} $socket 2>/dev/null)"}})
  compadd -a names
}}
{name}() {{
  local curcontext="$curcontext" state line
  local -A opt_args
  local -a commands
  commands=(
{commands}
  )
  _arguments -C -S {_lines([*_flags(grammar.flags), "'1: :->command'", "'*:: :->arguments'"])}
  case $state in
  command) _describe command commands ;;
  arguments)
    case $words[1] in
{cases}
    esac ;;
  esac
}}
if [[ $funcstack[1] == {name} ]]; then {name} "$@"; else compdef {name} {grammar.program}; fi
"""


def _flags(flags: tuple[Flag, ...]) -> Iterator[str]:
    for flag in flags:
        for spelling in flag.spellings:
            others = " ".join(flag.spellings)
            if flag.value is None:
                yield f"'({others}){spelling}[{_text(flag.help)}]'"
            else:
                form = f"{spelling}=" if spelling.startswith("--") else f"{spelling}+"
                yield f"'({others}){form}[{_text(flag.help)}]:value:{_action(flag.value, '')}'"


def _places(places: tuple[Place, ...], name: str) -> Iterator[str]:
    for position, place in enumerate(places, 1):
        yield f"'{'*' if place.repeats else position}:argument:{_action(place.value, name)}'"


def _action(value: Value, name: str) -> str:
    if value.names:
        return f"{name}_names"
    if value.files:
        return "_files"
    return f"({' '.join(value.words)})" if value.words else " "


def _text(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace(":", r"\:")


def _lines(arguments: list[str]) -> str:
    return "".join(f" \\\n        {argument}" for argument in arguments)
