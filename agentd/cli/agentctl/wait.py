"""``agentctl wait``."""

from __future__ import annotations

import time

from agentd.cli.agentctl.client import Json, agent_from
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_name, duration
from agentd.cli.agentctl.lookup import agent_document
from agentd.jcard.quoting import printable
from agentd.supervise.snapshot import AgentStatus
from agentd.supervise.states import AgentState

LOOK_AFTER = 0.1
"""Seconds between two looks."""

_DETAILS = """\
Returns at once if the agent is in that state already, and with exit status 1 when the time is over first."""

_EXAMPLES = """\
agentctl wait reviewer-0 --for running --timeout 30s
agentctl wait reviewer-0 --for exited && echo done"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("wait", "wait until an agent is in a state", _wait, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    parser.add_argument(
        "--for",
        dest="state",
        metavar="STATE",
        required=True,
        choices=[str(state) for state in AgentState],
        help="one of " + ", ".join(AgentState),
    )
    parser.add_argument("--timeout", metavar="DURATION", type=duration, help="how long, such as 30s or 5m [no limit]")


def _wait(invocation: Invocation) -> Status:
    wanted = str(invocation.arguments.state)
    timeout: float | None = invocation.arguments.timeout
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        over = end is not None and time.monotonic() >= end
        document = agent_document(invocation.api, invocation.name())
        agent = agent_from(document)
        if agent.state == wanted:
            _say(invocation, agent, document)
            return Status.DONE
        if over:
            reason = f" ({agent.error})" if agent.error else ""
            raise CommandError(
                f"{agent.name} is {agent.state}{reason}, not {wanted}, and the time is over:"
                f" agentctl status {agent.name} says more"
            )
        left = LOOK_AFTER if end is None else max(0.0, end - time.monotonic())
        time.sleep(min(LOOK_AFTER, left))  # noqa: TID251 (a person waits, and the API tells of no events)


def _say(invocation: Invocation, agent: AgentStatus, document: Json) -> None:
    if invocation.as_json:
        invocation.print_document(document)
    else:
        invocation.print([f"{printable(agent.name)} is {printable(agent.state)}"])
