"""Wait for agents: until they run, or until the daemon has done what its file says."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from agentd.cli.agentctl.client import Json, views
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.follow_events import TimeOverError, follow
from agentd.files.answering import within
from agentd.model.states import AgentState
from agentd.model.status import AgentStatus, ConfigStatus
from agentd.supervise.applying import NOT_SEEN
from agentd.text.durations import format_duration

_LOOK_EVERY = 0.025
"""Seconds between two looks while no event comes: the journal shows events up to 0.05 s late."""

_CHANGING = frozenset({AgentState.PENDING, AgentState.STARTING, AgentState.STOPPING})

ENDED = frozenset({AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT, AgentState.DISABLED})
"""States that an agent does not leave by itself."""

_Found = TypeVar("_Found")


def wait_for(invocation: Invocation, look: Callable[[], _Found | str]) -> _Found:
    """Look at once, after each event, and now and then between them, until what is wanted is found.

    Parameters
    ----------
    invocation
        The call; ``--timeout`` says how long.
    look
        Gives what was found, or text that says what is still missing.

    Raises
    ------
    CommandError
        If the time is over, or whatever `look` raises.
    UnreachableError, ApiError
        If the daemon does not answer.
    """
    timeout: float = invocation.arguments.timeout
    deadline = time.monotonic() + timeout
    try:
        for _ in follow(invocation.api, deadline=deadline, every=_LOOK_EVERY, reconnect=False):
            found = look()
            if not isinstance(found, str):
                return found
    except TimeOverError:
        pass
    found = look()
    if not isinstance(found, str):
        return found
    raise CommandError(f"after {format_duration(timeout)} {found}; see agentctl status")


def wait_until_running(invocation: Invocation, name: str) -> AgentStatus:
    """Wait until an agent runs.

    Raises
    ------
    CommandError
        If the time is over, or the agent ends or has an error.
    UnreachableError, ApiError
        If the daemon does not answer.
    """

    def look() -> AgentStatus | str:
        agent = next((agent for agent in invocation.api.agents() if agent.name == name), None)
        if agent is None:
            return f"{name} is not known to the daemon"
        if agent.state == AgentState.RUNNING and agent.pid is not None:
            return agent
        if agent.state in ENDED or agent.error is not None:
            reason = f": {agent.error}" if agent.error else ""
            advice = "; agentctl start runs it" if agent.state == AgentState.DISABLED else ""
            state = "in back-off" if agent.state == AgentState.BACKOFF else agent.state
            raise CommandError(f"{name} is declared, and is {state}{reason}{advice}")
        return f"{name} is {agent.state}"

    return wait_for(invocation, look)


def wait_until_converged(
    invocation: Invocation, files: Sequence[Path], present: Sequence[str], gone: Sequence[str]
) -> list[tuple[AgentStatus, Json]]:
    """Wait until the daemon has taken files as they now are, and some agents are as these say.

    The daemon says which content it took by its digest: times would not tell two edits of one moment apart. It takes a
    content and tells its agents in one step, so that states asked for afterwards belong to it, or to a later one.

    Parameters
    ----------
    invocation
        The call; ``--timeout`` says how long.
    files
        The jcard or drop-ins.
    present
        Agents that are to be in a state that neither starts nor stops.
    gone
        Agents that are to disappear.

    Returns
    -------
    list
        The agents of `present`, and what the API says of each.

    Raises
    ------
    CommandError
        If the time is over, or the daemon does not take a file.
    UnreachableError, ApiError
        If the daemon does not answer.
    """

    def look() -> list[tuple[AgentStatus, Json]] | str:
        config, own = invocation.api.health().config, invocation.settings.config
        if not _same_file(Path(config.path), own):
            raise CommandError(f"the daemon on {invocation.api.path} runs {config.path}, not {own}")
        for file in files:
            if not _has_taken(config, file):
                return f"the daemon has not read {file} yet"
        documents = invocation.api.get("/v1/agents")
        agents = views(AgentStatus, documents)
        assert isinstance(documents, Sequence), "or views would have raised"
        found = {agent.name: (agent, document) for agent, document in zip(agents, documents, strict=True)}
        return _unsettled(found, present, gone) or [found[name] for name in present]

    return wait_for(invocation, look)


def _has_taken(config: ConfigStatus, file: Path) -> bool:
    """Whether the daemon has taken a file as it now is; it may have changed again since it was edited."""
    taken = next((each for each in config.files if _same_file(Path(each.path), file)), None)
    try:
        content = within(file, file.read_bytes)
    except FileNotFoundError:
        return taken is None
    except OSError as error:
        raise CommandError(f"{file} cannot be read any more: {error.strerror}") from None
    if taken is None or taken.digest != hashlib.sha256(content).hexdigest():
        return False
    if not taken.valid:
        raise CommandError(f"the daemon refuses the file: {taken.error}")
    return True


def _same_file(one: Path, other: Path) -> bool:
    try:
        return within(one, lambda: one.samefile(other))
    except OSError:
        return one == other


def _unsettled(
    found: Mapping[str, tuple[AgentStatus, Json]], present: Sequence[str], gone: Sequence[str]
) -> str | None:
    """Say which agent is not yet as the file says."""
    for name in present:
        if name not in found:
            return f"{name} is not there yet"
        agent = found[name][0]
        if agent.state in _CHANGING:
            return f"{name} is {agent.state}"
        if agent.held_change is not None and NOT_SEEN in agent.held_change.waits:
            # It is restarted in a moment, or waits for more than that.
            return f"{name} waits to be restarted: {NOT_SEEN}"
    for name in gone:
        if name in found:
            return f"{name} is {found[name][0].state}, not gone"
    return None
