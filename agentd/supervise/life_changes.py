"""Describes changes of an agent's life, for the log and the journal alike."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from agentd.model.events import Detail, Event, EventKind
from agentd.model.states import AgentState
from agentd.supervise.life import Life, Run
from agentd.supervise.policy import Exit
from agentd.text.timestamps import rfc3339

_LEVELS = {
    AgentState.STARTING: logging.DEBUG,
    AgentState.FAILED: logging.WARNING,
    AgentState.TIMED_OUT: logging.WARNING,
}
"""Of the change to these states; of all others ``INFO``."""

_ARRIVALS = {
    AgentState.QUEUED: EventKind.QUEUED,
    AgentState.STARTING: EventKind.LAUNCHED,
    AgentState.RUNNING: EventKind.STARTED,
    AgentState.STOPPING: EventKind.STOPPING,
    AgentState.BACKOFF: EventKind.RESTARTING,
    AgentState.EXITED: EventKind.COMPLETED,
    AgentState.FAILED: EventKind.FAILED,
    AgentState.TIMED_OUT: EventKind.TIMED_OUT,
    AgentState.DISABLED: EventKind.DISABLED,
}
"""What tells that an agent has come into a state. It goes back to ``pending`` only to be removed or shut down."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one step of a life was."""

    events: tuple[Event, ...]
    level: int
    """Of the line in the log."""
    new_state: bool

    @property
    def fields(self) -> dict[str, Detail]:
        """What the line in the log says: everything that the events say."""
        fields: dict[str, Detail] = {}
        for event in self.events:
            fields.update(event.data)
            if event.reason is not None:
                fields["reason"] = event.reason
        return fields


def describe_change(before: Life, life: Life, now: float) -> Change:
    """Describe what happened between two moments of a life.

    Parameters
    ----------
    now
        Monotonic, in seconds.
    """
    new_state = life.state is not before.state
    level = _LEVELS.get(life.state, logging.INFO)
    events = [*_end_of_run(before, life), *(_new_state(before, life, now) if new_state else ())]
    return Change(tuple(events), max(level, logging.INFO) if before.state.live else level, new_state)


def limit_events(before: Life, life: Life) -> Iterator[Event]:
    """What is to be told of a usage limit: that it was hit, what follows, that the agent was told to go on."""
    was, now = before.limited, life.limited
    if now is None or now.hit is None or life.policy.on_usage_limit is None or life.run is None:
        return
    said = {} if was is None else {"hit": was.hit, "due": was.due, "why": was.why}
    if said == {"hit": now.hit, "due": now.due, "why": now.why}:
        return
    data: dict[str, Detail] = {"run": life.run.id, "resumes": now.resumes}
    if now.told:
        if was is None or not was.told:
            yield Event(EventKind.LIMIT_RESUMED, life.name, None, data)
        return
    data |= {"limit_action": life.policy.on_usage_limit.action.value, "limit_source": now.hit.source}
    if now.hit.resets_at is not None:
        data["resets_at"] = rfc3339(now.hit.resets_at)
    if now.due is not None:
        data["resume_at"] = rfc3339(now.due)
    reason = "; ".join(filter(None, (now.hit.text, now.why)))
    yield Event(EventKind.LIMIT_REACHED, life.name, reason or None, data)


def _end_of_run(before: Life, life: Life) -> Iterator[Event]:
    run, known, outcome = life.run, before.run, life.outcome
    if run is None or run.ended is None or outcome is None:
        return
    if known is not None and known.id == run.id and known.ended is not None:
        return
    data: dict[str, Detail] = {"state": life.state.value, "run": run.id}
    if run.pid is None and outcome.error is not None:
        yield Event(EventKind.LAUNCH_FAILED, life.name, outcome.error, data)
        return
    reason = outcome.error if outcome.oom is None else outcome.describe()
    yield Event(EventKind.EXITED, life.name, reason, data | _of_process(run) | _status(outcome))


def _of_process(run: Run) -> dict[str, Detail]:
    lasted = run.lasted()
    data: dict[str, Detail] = {} if run.pid is None else {"pid": run.pid}
    return data if lasted is None else data | {"ran_seconds": round(lasted, 3)}


def _status(ended: Exit) -> dict[str, Detail]:
    data: dict[str, Detail] = {"exit_code": ended.code, "exit_signal": ended.signal, "exit_reason": ended.reason}
    return {name: value for name, value in data.items() if value is not None}


def _new_state(before: Life, life: Life, now: float) -> Iterator[Event]:
    states: dict[str, Detail] = {"state": life.state.value, "was": before.state.value}
    if before.state is AgentState.STOPPING and before.stop is not None:
        ran = before.run is not None and before.run.ended is not None
        ended = _status(before.outcome) if ran and before.outcome is not None else {}
        cause: dict[str, Detail] = {"cause": before.stop.reason.value}
        yield Event(EventKind.STOPPED, life.name, before.stop.error, states | cause | ended)
    kind = _ARRIVALS.get(life.state)
    if kind is not None:
        yield Event(kind, life.name, _reason(life), states | _details(life, now) | _waited(before, life))


def _waited(before: Life, life: Life) -> dict[str, Detail]:
    """How long it waited for a slot, or for another agent."""
    queued = None if before.state is not AgentState.QUEUED or before.desired is None else before.desired.queued
    if queued is None or queued.by_clock or life.state is not AgentState.STARTING or life.began_wall is None:
        return {}
    return {"queued_seconds": round(max(0.0, life.began_wall - queued.since), 3)}


def _reason(life: Life) -> str | None:
    if life.state is AgentState.QUEUED and life.desired is not None and life.desired.queued is not None:
        return life.desired.queued.reason
    return life.stop.error if life.state is AgentState.STOPPING and life.stop is not None else life.error


def _details(life: Life, now: float) -> dict[str, Detail]:
    run = life.run
    match life.state:
        case AgentState.QUEUED if life.desired is not None and life.desired.queued is not None:
            place = life.desired.queued.place
            return {} if place is None else {"place": place, "priority": life.policy.priority}
        case AgentState.STARTING if run is not None:
            return {"run": run.id, "restarts": life.restarts}
        case AgentState.RUNNING if run is not None:
            return {"run": run.id, "pid": run.pid, "restarts": life.restarts}
        case AgentState.STOPPING if life.stop is not None:
            return {"cause": life.stop.reason.value, "grace_seconds": life.stop.grace}
        case AgentState.BACKOFF if life.due is not None:
            return {"restarts": life.restarts, "restart_in_seconds": round(max(0.0, life.due - now), 3)}
        case _:
            return {}
