"""``agentctl sandbox``."""

from __future__ import annotations

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, UsageError, add_name
from agentd.text.quoting import printable

_DETAILS = """\
Makes the sandbox that the agent's next launch would have, from the files as they are now, and runs a command in it, in
this terminal or pipe: with its mounts, its network, its filter of system calls, its environment and, if you may read
them, its secrets. Without a command, a shell. Only root, and the user that agents run as, may.
The agent's memory, pid_limit and cpu hold it as well, apart from its runs; where one cannot, that is said. It is no run
of the agent's: agentd neither counts nor records it, what network_allow names is not reached, and AGENTD_RUN_ID is not
set. The home is the agent's own, and what the command writes there or in the workdir stays. The exit status is that of
the command, 128 and its number after a signal.
With --dry-run or --json: what would be run, and no value of any variable."""

_EXAMPLES = """\
agentctl sandbox builder
agentctl sandbox builder -- ls -la /home
agentctl sandbox builder -- curl -sI https://example.com
agentctl sandbox builder --dry-run"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("sandbox", _sandbox, details=_DETAILS, examples=_EXAMPLES)
    parser.usage = "agentctl sandbox [options] NAME [-- COMMAND [ARGUMENT ...]]"
    parser.takes_words = True
    add_name(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be run")


def _sandbox(invocation: Invocation) -> int:
    words: list[str] | None = invocation.arguments.words
    if invocation.arguments.fields:
        raise UsageError(f"write -- before the command: -- {printable(' '.join(invocation.arguments.fields))} …")
    from agentd.cli.agentctl.boxed import prepare, remarks
    from agentd.cli.agentctl.boxed_limits import held
    from agentd.cli.agentctl.boxed_process import has_terminal, run
    from agentd.sandbox.gvisor import GVisor

    boxed = prepare(invocation, invocation.name())
    shell = ["/bin/sh", "-c", _SHELL] if has_terminal() else ["/bin/sh"]
    argv = words or shell
    if invocation.as_json or invocation.arguments.dry_run:
        document = boxed.document(argv)
        invocation.print_result(document, [f"{name}\t{_shown(value)}" for name, value in document.items()])
        return 0
    if isinstance(boxed.ready.wrapper, GVisor) and not has_terminal():
        raise CommandError("a sandbox by gVisor needs a terminal, and input or output is none")
    limits, wrapper = boxed.spec.policy.limits, boxed.ready.wrapper
    with held(limits, boxed.daemon, wrapper.processes(limits.pid_limit or 0)) as not_held:
        for text in remarks(boxed, not_held):
            invocation.warn(text)
        return run(boxed.script(argv), wrapper, boxed.user)


_SHELL = "if command -v bash >/dev/null 2>&1; then exec bash --norc -i; fi; exec /bin/sh -i"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return (
        "; ".join(f"{name} {_shown(each)}" for name, each in value.items()) if isinstance(value, dict) else str(value)
    )
