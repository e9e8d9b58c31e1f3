"""``agentctl wait``."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping

from agentd.cli.agentctl.client import Json, UnreachableError, view
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_fleet, add_name, add_timeout
from agentd.cli.agentctl.lookup import agent_document
from agentd.model.events import EventKind
from agentd.model.states import Activity, AgentState
from agentd.model.status import NOT_READ_YET, AgentStatus
from agentd.text.quoting import printable

_LOOK_AFTER = 0.1
"""Seconds between two questions to a daemon that has just started and may not know its agents yet."""

_DETAILS = """\
Returns at once if the agent is in one of the states, or does one of the activities, and with exit status 1 if the time
runs out first. A state or activity that the agent only passes through counts too. The wait survives restarts of the
daemon."""

_EXAMPLES = """\
agentctl wait reviewer-0 --for running --timeout 30s
agentctl wait reviewer-0 --for exited,failed,timed_out
agentctl wait reviewer-0 --for exited && echo done
agentctl wait reviewer-0 --for idle,waiting_permission --timeout 10m"""

_WANTED = (*AgentState, *Activity)


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("wait", _wait, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    parser.add_argument(
        "--for",
        dest="states",
        metavar="STATE|ACTIVITY[,…]",
        required=True,
        action="extend",
        type=_states,
        help="one or more of " + ", ".join(_WANTED),
    )
    add_timeout(parser, "time limit, such as 30s or 5m")
    add_fleet(parser)


def _states(text: str) -> list[str]:
    states = text.split(",")
    unknown = [state for state in states if state not in _WANTED]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(_WANTED)}; found {unknown[0]!r}")
    return states


def _wait(invocation: Invocation) -> Status:
    from urllib.parse import urlencode

    from agentd.cli.agentctl.follow_events import TimeOverError, follow

    api, wanted = invocation.api, list[str](invocation.arguments.states)
    timeout: float | None = invocation.arguments.timeout
    deadline = None if timeout is None else time.monotonic() + timeout
    # An unknown agent, and a state that it is in, need no events.
    document = _first_look(invocation)
    if document is not None and (reached := _reached(document, wanted)) is not None:
        return _report(invocation, reached, document)
    warn = lambda text: invocation.warn(printable(text))  # noqa: E731 (an argument)
    try:
        for event in follow(api, f"&{urlencode({'agent': invocation.name()})}", deadline=deadline, warn=warn):
            # Looked at once events are followed, and again where they do not say.
            if event is None or event.get("kind") == EventKind.REMOVED:
                document = _look(invocation, deadline) or document
                reached = None if document is None else _reached(document, wanted)
            else:
                reached = _told(event, wanted)
            if reached is not None:
                with contextlib.suppress(CommandError, UnreachableError):  # it may be gone again, or the daemon
                    document = agent_document(api, invocation.name())
                return _report(invocation, reached, document)
    except TimeOverError:
        pass
    document = _last_look(invocation)
    if (reached := _reached(document, wanted)) is not None:
        return _report(invocation, reached, document)
    agent = view(AgentStatus, document)
    reason = f" ({agent.error})" if agent.error else ""
    raise CommandError(
        f"{agent.name} is {_shown(agent)}{reason}, not {' or '.join(wanted)}, and the time is over: "
        f"see agentctl status {agent.name}"
    )


def _first_look(invocation: Invocation) -> Json:
    """Read the agent; ``None`` for one of a fleet that no host has yet."""
    try:
        return agent_document(invocation.api, invocation.name())
    except CommandError:
        if not _may_come(invocation):
            raise
        return None


def _last_look(invocation: Invocation) -> Json:
    try:
        return agent_document(invocation.api, invocation.name())
    except CommandError:
        if not _may_come(invocation):
            raise
        name = printable(invocation.name())
        raise CommandError(f"{name} is on no host, and the time is over: see agentctl status --fleet {name}") from None


def _may_come(invocation: Invocation) -> bool:
    """Whether it is of a fleet, between two hosts or before its first: events say what becomes of it."""
    if not invocation.fleet:
        return False
    from agentd.cli.agentctl.fleet.between import is_wished_for

    return is_wished_for(invocation.api, invocation.name())


def _reached(document: Json, wanted: list[str]) -> str | None:
    agent = view(AgentStatus, document)
    return next((each for each in (agent.state, agent.activity) if each in wanted), None)


def _told(event: Mapping[str, Json], wanted: list[str]) -> str | None:
    data = event.get("data")
    values = (data.get("state"), data.get("activity")) if isinstance(data, dict) else ()
    return next((each for each in values if isinstance(each, str) and each in wanted), None)


def _shown(agent: AgentStatus) -> str:
    return f"{agent.state} and {agent.activity}" if agent.running and agent.activity else agent.state


def _look(invocation: Invocation, deadline: float | None) -> Json:
    """Read the agent; ``None`` if the daemon went away once more.

    A daemon that has just been started may not have read its configuration yet: then it need not know the agent.
    """
    with contextlib.suppress(UnreachableError):
        while deadline is None or time.monotonic() < deadline:
            try:
                return agent_document(invocation.api, invocation.name())
            except CommandError:
                if _may_come(invocation):
                    return None
                if invocation.api.health().config.error != NOT_READ_YET:
                    return agent_document(invocation.api, invocation.name())
            time.sleep(_LOOK_AFTER)  # noqa: TID251 (a moment, after a restart of the daemon)
    return None


def _report(invocation: Invocation, reached: str, document: Json) -> Status:
    if document is None:  # of a fleet, and gone again
        invocation.print_result({"name": invocation.name()}, [f"{invocation.name()} was {printable(reached)}"])
        return Status.DONE
    agent = view(AgentStatus, document)
    if invocation.as_json:
        invocation.print_document(document)
    elif reached in (agent.state, agent.activity):
        invocation.print([f"{printable(agent.name)} is {printable(reached)}"])
    else:
        invocation.print([f"{printable(agent.name)} was {printable(reached)}, and is {printable(_shown(agent))} now"])
    return Status.DONE
