"""Waiting until the daemon has done what the jcard says."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentd.cli.agentctl.client import Api, Json, agents_from, health_from
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.model.states import AgentState
from agentd.model.status import AgentStatus
from agentd.text.durations import format_duration

LOOK_AFTER = 0.015
"""Seconds between two looks, of 2 requests each."""

_ON_THE_WAY = frozenset({AgentState.PENDING, AgentState.STARTING, AgentState.STOPPING})


def wait_until_converged(
    invocation: Invocation, file: Path, present: Sequence[str], gone: Sequence[str]
) -> list[tuple[AgentStatus, Json]]:
    """Wait until the daemon has taken the file as it now is, and nothing is left to be done for some agents.

    The daemon says which content it took by its digest: times would not tell two edits of one moment apart. It takes a
    content and tells its agents in one step, so that states asked for afterwards belong to it, or to a later one.

    Parameters
    ----------
    invocation
        The call; ``--timeout`` says how long.
    file
        The jcard.
    present
        Agents that are to come to rest: in whatever state that neither starts nor stops.
    gone
        Agents that are to disappear.

    Returns
    -------
    list
        The agents of `present`, and what the API says of each.

    Raises
    ------
    CommandError
        If the time is over, or the daemon does not take the file.
    UnreachableError, ApiError
        If the daemon does not answer.
    """
    timeout: float = invocation.arguments.timeout
    end = time.monotonic() + timeout
    while True:
        missing = _not_taken(invocation.api, file)
        if missing is None:
            found = _agents(invocation.api)
            missing = _not_at_rest(found, present, gone)
            if missing is None:
                return [found[name] for name in present]
        if time.monotonic() >= end:
            raise CommandError(f"after {format_duration(timeout)} {missing}; agentctl status shows more")
        time.sleep(LOOK_AFTER)  # noqa: TID251 (a person waits, and the API tells of no events)


def _not_taken(api: Api, file: Path) -> str | None:
    """Say that the daemon has not taken the file as it now is; it may have changed again since it was edited."""
    config = health_from(api.get("/v1/health")).config
    if not _same_file(Path(config.path), file):
        raise CommandError(f"the daemon on {api.path} runs {config.path}, not {file}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read any more: {error.strerror}") from None
    if config.digest != hashlib.sha256(content).hexdigest():
        return "the daemon has not read the file yet"
    if not config.valid:
        raise CommandError(f"the daemon refuses the file: {config.error}")
    return None


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other


def _agents(api: Api) -> dict[str, tuple[AgentStatus, Json]]:
    documents = api.get("/v1/agents")
    agents = agents_from(documents)
    assert isinstance(documents, Sequence), "or agents_from would have raised"
    return {agent.name: (agent, document) for agent, document in zip(agents, documents, strict=True)}


def _not_at_rest(
    found: Mapping[str, tuple[AgentStatus, Json]], present: Sequence[str], gone: Sequence[str]
) -> str | None:
    """Say which agent is still on its way."""
    for name in present:
        if name not in found:
            return f"{name} is not there yet"
        state = found[name][0].state
        if state in _ON_THE_WAY:
            return f"{name} is {state}"
    for name in gone:
        if name in found:
            return f"{name} is {found[name][0].state}, not gone"
    return None
