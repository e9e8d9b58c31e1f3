"""``agentctl start``, ``stop`` and ``restart``."""

from __future__ import annotations

from collections.abc import Callable

from agentd.cli.agentctl.command import Commands, Invocation, Status, add_edit_options, add_names

_START_DETAILS = """\
Removes enabled = false from the definition. An agent that ended by itself is still enabled: agentctl restart runs it
again."""

_STOP_DETAILS = """\
Writes enabled = false: the agent is stopped gracefully and its session is closed. Its definition stays."""

_RESTART_DETAILS = """\
Writes the time to restarted_at; whenever that field changes, the daemon stops the current run and starts another. An
agent that ended runs again."""


def register(commands: Commands) -> None:
    """Add the commands."""
    for name, run, details in (
        ("start", _start, _START_DETAILS),
        ("stop", _stop, _STOP_DETAILS),
        ("restart", _restart, _RESTART_DETAILS),
    ):
        examples = f"agentctl {name} reviewer\nagentctl {name} reviewer fixer --wait --timeout 2m"
        parser = commands.add(name, run, details=details, examples=examples)
        add_names(parser)
        add_edit_options(parser)


def _start(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import start_agent

    return _edit_each(invocation, start_agent, "it is enabled already; if it ended, agentctl restart runs it again")


def _stop(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import stop_agent

    return _edit_each(invocation, stop_agent, "it is stopped already")


def _restart(invocation: Invocation) -> Status:
    from datetime import UTC, datetime

    from agentd.jcard.edit.agents import restart_agent

    def restart(text: str, name: str) -> str:
        # To the microsecond and taken under the file's lock: two restarts in one second are two changes.
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return restart_agent(text, name, at)

    return _edit_each(invocation, restart, "")


def _edit_each(invocation: Invocation, change: Callable[[str, str], str], unchanged: str) -> Status:
    from agentd.cli.agentctl.edit import Edit
    from agentd.cli.agentctl.edit_command import run_edit

    names = invocation.names()
    return run_edit(invocation, Edit(change, names, names), unchanged)
