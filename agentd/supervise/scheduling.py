"""What an agent's schedule asks for at a moment: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Final

from agentd.model.capacity import Queued
from agentd.model.order import Overlap, Schedule
from agentd.model.states import AgentState
from agentd.supervise.applying import RESTARTED_PART, SCHEDULE_PART
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.plan import changed_parts
from agentd.text.cron import following, latest
from agentd.text.durations import format_duration
from agentd.text.timestamps import rfc3339

SLACK: Final = 5.0
"""Seconds that a start may be late whatever ``catch_up`` says: agentd itself takes a moment to start."""

SET_BACK: Final = 3600.0
"""Seconds: a clock that was set back by more was wrong before, and the schedule counts anew."""

_UNDER_WAY: Final = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF})

NOT_LAUNCHED: Final = frozenset({AgentState.PENDING, AgentState.QUEUED, AgentState.STARTING})
"""A launch that agentd does not live to see the process of is none: the next one goes back to before it."""

_NEVER: Final = "its schedule names no time any more"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an agent's schedule has come. Times are seconds since the epoch."""

    cron: str
    zone: str | None
    """As declared."""
    since: float
    """Every start up to here is made, or left out."""
    upcoming: float | None = None
    """The first one after that; ``None`` if there is none."""
    due: float | None = None
    """One that is to be made once nothing is in its way."""
    by_hand: bool = False
    """Whether somebody asked for that."""
    restarted_at: str | None = None
    """As declared: a change of it is a start by hand."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a decision goes by, beside what is declared."""

    now: float
    """Seconds since the epoch."""
    zone: tzinfo
    """That the schedule is in."""
    life: Life | None


class Verdict(StrEnum):
    """What becomes of a start."""

    DUE = "due"
    """It is to be made."""
    SKIPPED = "skipped"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on the start of a time."""

    verdict: Verdict
    due: float
    reason: str | None = None


def stamp(due: float) -> str:
    """Write a start as the part of a launch that it is."""
    return rfc3339(due)


def started_for(life: Life | None) -> str | None:
    """Give the start that an agent was last launched for."""
    return None if life is None or life.fingerprint is None else life.fingerprint.get(SCHEDULE_PART)


def is_busy(life: Life | None) -> bool:
    """Whether a run is not over."""
    if life is None or life.view.leaving:
        return False
    return life.state in _UNDER_WAY or life.stop is not None


def begin(schedule: Schedule, since: float, zone: tzinfo) -> Standing:
    """Count from a moment on."""
    return Standing(schedule.cron, schedule.zone, since, following(schedule.cron, since, zone))


def advance(desired: DesiredAgent, standing: Standing | None, seen: Seen) -> tuple[Standing, tuple[Decision, ...]]:
    """Bring a schedule up to a moment.

    Parameters
    ----------
    desired
        An agent that has one.
    standing
        How far it had come; ``None`` if it was not declared.
    """
    schedule, restarted_at = desired.spec.schedule, desired.spec.restarted_at
    assert schedule is not None
    if standing is None:
        return replace(begin(schedule, seen.now, seen.zone), restarted_at=restarted_at), ()
    former = standing
    changed = (standing.cron, standing.zone) != (schedule.cron, schedule.zone)
    if changed or standing.since > seen.now + SET_BACK:
        standing = replace(begin(schedule, seen.now, seen.zone), restarted_at=standing.restarted_at)
    standing = _launched(desired, standing, seen)
    if standing.restarted_at != restarted_at:
        standing = replace(standing, restarted_at=restarted_at)
        if not is_busy(seen.life):
            standing = replace(standing, due=float(int(seen.now)), by_hand=True)
    if standing.upcoming is None or standing.upcoming > seen.now:
        return (former if standing == former else standing), ()
    last = latest(schedule.cron, standing.since, seen.now, seen.zone) or standing.upcoming
    decision = _decide(desired, schedule, standing, seen, last)
    standing = replace(standing, since=last, upcoming=following(schedule.cron, last, seen.zone))
    if decision.verdict is Verdict.DUE:
        standing = replace(standing, due=last, by_hand=False)
    return standing, (decision,)


def _launched(desired: DesiredAgent, standing: Standing, seen: Seen) -> Standing:
    """Note what the agent was launched for."""
    life = None if seen.life is None or seen.life.state in NOT_LAUNCHED else seen.life
    was = started_for(life)
    if standing.due is not None:
        if standing.by_hand:
            done = life is not None and life.fingerprint is not None and not _asked_again(desired, life)
        else:
            done = was == stamp(standing.due)
        return replace(standing, due=None, by_hand=False) if done else standing
    if was is None:
        return standing
    if stamp(standing.since) < was <= stamp(seen.now):
        # A former daemon ended before it wrote that down.
        since = datetime.fromisoformat(was).timestamp()
        return replace(standing, since=since, upcoming=following(standing.cron, since, seen.zone))
    return standing


def _asked_again(desired: DesiredAgent, life: Life) -> bool:
    """Whether somebody asked for a start since the last launch."""
    return RESTARTED_PART in changed_parts(life.fingerprint, desired.fingerprint)


def _decide(desired: DesiredAgent, schedule: Schedule, standing: Standing, seen: Seen, last: float) -> Decision:
    late = seen.now - last
    if late > max(schedule.catch_up, SLACK):
        allowed = format_duration(schedule.catch_up)
        reason = f"it would be {format_duration(float(int(late)))} late, and catch_up is {allowed}"
        return Decision(Verdict.MISSED, last, reason)
    if desired.launch is None:
        return Decision(Verdict.SKIPPED, last, desired.error)
    if schedule.overlap is Overlap.SKIP:
        if is_busy(seen.life):
            assert seen.life is not None
            return Decision(Verdict.SKIPPED, last, f"the run before is not over: it is {seen.life.state}")
        if standing.due is not None:
            return Decision(Verdict.SKIPPED, last, f"the start of {stamp(standing.due)} still waits")
    return Decision(Verdict.DUE, last)


def scheduled(desired: DesiredAgent, standing: Standing, life: Life | None, zone: tzinfo) -> DesiredAgent:
    """Give the declaration of an agent as its schedule has it: for a start, or waiting for the next."""
    schedule = desired.spec.schedule
    assert schedule is not None
    if not desired.spec.enabled or desired.launch is None:
        return desired
    busy = is_busy(life)
    as_it_is = _for_start(desired, started_for(life))
    if standing.by_hand:
        return as_it_is
    if standing.due is not None and (not busy or schedule.overlap is Overlap.STOP):
        return _for_start(desired, stamp(standing.due))
    if life is not None:
        stays = life.state.ended and life.stop is None and not changed_parts(life.fingerprint, as_it_is.fingerprint)
        if busy or stays:
            return as_it_is
    return replace(
        as_it_is, queued=Queued(None, until(standing.upcoming, schedule, zone), standing.since, by_clock=True)
    )


def _for_start(desired: DesiredAgent, start: str | None) -> DesiredAgent:
    if start is None or desired.fingerprint is None:
        return desired
    return replace(desired, fingerprint={**desired.fingerprint, SCHEDULE_PART: start})


def until(upcoming: float | None, schedule: Schedule, zone: tzinfo) -> str:
    """Say in words when an agent is started next."""
    if upcoming is None:
        return _NEVER
    local = datetime.fromtimestamp(upcoming, zone)
    named = "" if schedule.zone is None else f" ({schedule.zone})"
    seconds = ":%S" if local.second else ""
    return f"its schedule starts it next at {local.strftime(f'%Y-%m-%d %H:%M{seconds} %Z')}{named}"
