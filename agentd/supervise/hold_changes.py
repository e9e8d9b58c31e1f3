"""Describes what becomes of a change that waits, for the log and the journal alike."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.model.events import Detail, Event, EventKind
from agentd.supervise.applying import waits
from agentd.supervise.life import Life, StopReason
from agentd.supervise.plan import changed_parts
from agentd.text.timestamps import rfc3339


def waiting_for(life: Life) -> tuple[str, ...]:
    """What the change of a life that has one waits for."""
    assert life.hold is not None
    return waits(life.policy, life.policy, (), life.hold.use, None)


def held_until(life: Life) -> float | None:
    """When the change is applied at the latest, in seconds since the epoch."""
    assert life.hold is not None
    limit = life.policy.apply_deadline
    return None if limit is None else life.hold.since_wall + limit


def held_parts(life: Life) -> tuple[str, ...]:
    """The parts of the launch that wait to be another."""
    return () if life.held is None else changed_parts(life.fingerprint, life.held.fingerprint)


def hold_events(before: Life, life: Life) -> Iterator[Event]:
    """What is to be told of a change that waits: that it does, that it is applied, or that it is taken back."""
    was, now = before.hold, life.hold
    if now is not None and now.told and (was is None or not was.told):
        until = held_until(life)
        data: dict[str, Detail] = {
            "fields": held_parts(life),
            "waits": waiting_for(life),
            "apply": life.policy.apply.value,
            **({} if until is None else {"apply_at": rfc3339(until)}),
        }
        yield Event(EventKind.CHANGE_HELD, life.name, "waits: " + "; ".join(waiting_for(life)), data)
    elif now is None and was is not None and was.told and before.held is not None:
        applied = life.stop is not None and life.declared is not None
        kind = EventKind.CHANGE_APPLIED if applied else EventKind.CHANGE_WITHDRAWN
        yield Event(kind, life.name, _why(before, life) if applied else None, {"fields": held_parts(before)})


def _why(before: Life, life: Life) -> str:
    """Why a change waits no longer."""
    assert life.stop is not None
    if life.stop.reason is not StopReason.CHANGED:
        return f"it ends anyway: {life.stop.reason}"
    if life.run is not None and life.run.ended is not None:
        return "its run ended"
    if before.policy.applied_at != life.policy.applied_at:
        return "somebody said agentctl apply"
    return "nothing speaks against it any more"
