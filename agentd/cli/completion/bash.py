"""Completion for bash, from version 3.2 on, which macOS has."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.cli.completion.grammar import Grammar, Value, distinct


def script(grammar: Grammar) -> str:
    """Write the script for bash."""
    cases = {
        "COMMANDS": " ".join(command.name for command in grammar.commands),
        "NAMES": grammar.names,
        "VALUED": "\n".join(_valued(grammar)),
        "FLAGS": "\n".join(_flags(grammar)),
        "ARGUMENTS": "\n".join(_arguments(grammar)),
        "PROGRAM": grammar.program,
        "FUNCTION": f"_{grammar.program}",
    }
    text = _TEMPLATE
    for name, value in cases.items():
        text = text.replace(f"@{name}@", value)
    return text


def _valued(grammar: Grammar) -> Iterator[str]:
    """Write a case for each option that takes a value, by its command (none for those before it)."""
    for command, flags in (("", grammar.flags), *((word.name, word.flags) for word in grammar.commands)):
        for flag in flags:
            if flag.value is not None:
                patterns = "|".join(f"{command}:{spelling}" for spelling in flag.spellings)
                yield f"        {patterns}) {_offer(flag.value)} ;;"


def _flags(grammar: Grammar) -> Iterator[str]:
    for command, flags in (("", grammar.flags), *((word.name, word.flags) for word in grammar.commands)):
        yield f"        '{command}') words='{distinct(flags)}' ;;"


def _arguments(grammar: Grammar) -> Iterator[str]:
    for command in grammar.commands:
        for position, argument in enumerate(command.arguments):
            pattern = f"{command.name}:{position}" if not argument.repeats else f"{command.name}:*"
            yield f"        {pattern}) {_offer(argument.value)} ;;"


def _offer(value: Value) -> str:
    if value.names:
        return "names=yes"
    if value.files:
        return "files=yes"
    return f"words='{' '.join(value.words)}'"


# A word is an option's value if the one before it is such an option; "=" is a word of its own in bash.
_TEMPLATE = r"""# bash completion for @PROGRAM@. To have it in every shell:
#   @PROGRAM@ completion bash > ~/.local/share/bash-completion/completions/@PROGRAM@
@FUNCTION@_value() {
    case $1 in
@VALUED@
        *) return 1 ;;
    esac
}
@FUNCTION@() {
    local current=${COMP_WORDS[COMP_CWORD]} command= pending= position=0 words= names= files= word i
    local socket=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == "=" ]]; then
            continue
        elif [[ -n $pending ]]; then
            [[ $pending == *:--api-socket ]] && socket=(--api-socket "$word")
            pending=
        elif [[ $word == -* ]]; then
            @FUNCTION@_value "$command:$word" && pending=$command:$word
        elif [[ -z $command ]]; then
            command=$word
        else
            position=$((position + 1))
        fi
    done
    words= names= files=
    [[ $current == "=" ]] && current=
    if [[ -n $pending ]]; then
        @FUNCTION@_value "$pending"
    elif [[ $current == -* ]]; then
        case $command in
@FLAGS@
        esac
    elif [[ -z $command ]]; then
        words='@COMMANDS@'
    else
        case $command:$position in
@ARGUMENTS@
        esac
    fi
    [[ -n $names ]] && words=$(@NAMES@ ${socket[@]+"${socket[@]}"} 2>/dev/null)
    # Files are bash's own completion, which follows where there is nothing else.
    if [[ -z $files ]]; then
        compopt +o default 2>/dev/null
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}
complete -o default -F @FUNCTION@ @PROGRAM@
"""
