"""Describes that an agent does not go on, for the log and the journal alike."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.model.events import Detail, Event, EventKind
from agentd.supervise.life import Life
from agentd.text.timestamps import rfc3339


def stall_events(before: Life, life: Life) -> Iterator[Event]:
    """What is to be told: that something is tried with it, and why."""
    was, now = before.stalled, life.stalled
    if now is None or (was is not None and was.taken == now.taken):
        return
    data: dict[str, Detail] = {
        "run": now.run,
        "phase": now.phase.value,
        "stall_action": now.action.value,
        "tried": now.taken,
        "stalled_since": rfc3339(now.since),
    }
    yield Event(EventKind.STALLED, life.name, now.why, data)
