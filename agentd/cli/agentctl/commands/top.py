"""``agentctl top``."""

from __future__ import annotations

import sys

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, UsageError

_DETAILS = """\
Shows all agents, whoever needs somebody first, and the last answer and the screen of the selected one, live. Keys: up
and down (or j and k) select, Enter attaches (detaching comes back), s sends a message, y and n answer a permission,
w answers a question, i interrupts, r restarts, / filters, t sorts by name, Escape shows all again, q ends. Needs the
extra agentd[top]."""

_EXAMPLES = """\
agentctl top"""


def register(commands: Commands) -> None:
    """Add the command."""
    commands.add("top", _top, details=_DETAILS, examples=_EXAMPLES)


def _top(invocation: Invocation) -> Status:
    if invocation.as_json:
        raise UsageError("top never ends, so it takes no --json; agentctl status --json reads the status")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):  # textual draws on stderr
        raise UsageError("top needs a terminal; agentctl status does not")
    try:
        from agentd.cli.agentctl.top.app import Top
    except ModuleNotFoundError as error:
        from agentd.settings.extras import how_to_install

        raise CommandError(f"top needs {error.name}, which is not installed: {how_to_install('top')}") from None
    invocation.api.health()
    Top(invocation.api, invocation.settings).run()
    return Status.DONE
