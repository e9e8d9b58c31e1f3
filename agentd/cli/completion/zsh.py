"""Completion for zsh."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.cli.completion.grammar import Argument, Flag, Grammar, Value


def script(grammar: Grammar) -> str:
    """Write the script for zsh: each command's arguments in the notation of ``_arguments``."""
    name = f"_{grammar.program}"
    commands = "\n".join(f"    '{command.name}:{_text(command.help)}'" for command in grammar.commands)
    cases = "\n".join(
        f"    {it.name})\n      _arguments -s -S {_lines([*_flags(it.flags), *_arguments(it.arguments, name)])} ;;"
        for it in grammar.commands
    )
    return f"""#compdef {grammar.program}
# zsh completion for {grammar.program}. For every shell: as a file _{grammar.program} in a folder of $fpath.
{name}_names() {{
  local -a socket names
  (( ${{+opt_args[--api-socket]}} )) && socket=(--api-socket "${{(Q)opt_args[--api-socket]}}")
  names=(${{(f)"$({grammar.names} $socket 2>/dev/null)"}})
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


def _arguments(arguments: tuple[Argument, ...], name: str) -> Iterator[str]:
    for position, argument in enumerate(arguments, 1):
        yield f"'{'*' if argument.repeats else position}:argument:{_action(argument.value, name)}'"


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
