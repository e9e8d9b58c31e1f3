"""``agentctl completion``."""

from __future__ import annotations

from agentd.cli.agentctl.command import NAMES_COMMAND, Commands, Invocation, Status

_DETAILS = """\
Completes commands, options, agents' names, states and files. Names are read from the daemon as you type."""

_EXAMPLES = """\
agentctl completion bash > ~/.local/share/bash-completion/completions/agentctl
agentctl completion zsh > ~/.zfunc/_agentctl     # a folder of $fpath
agentctl completion fish > ~/.config/fish/completions/agentctl.fish
source <(agentctl completion bash)               # this shell only"""

_SHELLS = ("bash", "zsh", "fish")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("completion", _completion, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help="one of " + ", ".join(_SHELLS))


def _completion(invocation: Invocation) -> Status:
    from importlib import import_module

    from agentd.cli.agentctl.entry import build_parser
    from agentd.cli.completion.grammar import grammar_of

    shell = str(invocation.arguments.shell)
    script: str = import_module(f"agentd.cli.completion.{shell}").script(grammar_of(build_parser(), NAMES_COMMAND))
    if invocation.as_json:
        invocation.print_document({"shell": shell, "script": script})
    else:
        print(script, end="")
    return Status.DONE
