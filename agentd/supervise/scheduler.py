"""Starts agents by their schedules: brings these up to the time at each pass, and wakes the next one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Final

import structlog

from agentd.files.named_zones import named_zone
from agentd.files.zones import zone_of
from agentd.model.events import Detail, Event, EventKind
from agentd.model.order import Schedule
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.scheduling import Decision, Seen, Standing, Verdict, advance, begin, scheduled
from agentd.supervise.trigger_queue import TriggerQueue
from agentd.text.timestamps import rfc3339

log = structlog.get_logger(__name__)

LONGEST_SLEEP: Final = 60.0
"""Seconds: timers do not see that the wall clock is set."""

_KINDS: Final = {
    Verdict.DUE: EventKind.SCHEDULE_DUE,
    Verdict.SKIPPED: EventKind.SCHEDULE_SKIPPED,
    Verdict.MISSED: EventKind.SCHEDULE_MISSED,
}


@dataclass(frozen=True, slots=True)
class _Given:
    """What an agent was given, and what that was decided by."""

    desired: DesiredAgent
    standing: Standing
    life: Life | None
    scheduled: DesiredAgent

    def stands(self, desired: DesiredAgent, standing: Standing | None, life: Life | None, now: float) -> bool:
        """Whether it would be decided so again; of 300 agents, deciding takes 10 ms."""
        if self.desired is not desired or self.standing is not standing or self.life is not life:
            return False
        upcoming = self.standing.upcoming
        return (upcoming is None or upcoming > now) and self.standing.since <= now


@dataclass(slots=True)
class Scheduler:
    """The schedules of all agents.

    Parameters
    ----------
    load, keep
        Read and write how far they have come, for the next daemon.
    wall
        Seconds since the epoch.
    zone
        ``TZ`` of the machine, if that is set.
    emit
        Takes each event.
    wake
        Makes a pass.
    triggers
        What else starts agents.
    """

    load: Callable[[], Mapping[str, Standing]] = dict
    keep: Callable[[Mapping[str, Standing]], None] = lambda _: None
    wall: Callable[[], float] = time.time
    zone: str | None = None
    emit: Callable[[Event], None] = lambda _: None
    wake: Callable[[], None] = lambda: None
    triggers: TriggerQueue = field(default_factory=TriggerQueue)
    _standings: dict[str, Standing] | None = None
    """``None`` until an agent has a schedule: the file is not read before."""
    _given: dict[str, _Given] = field(default_factory=dict)
    """By name."""
    _all: Mapping[str, DesiredAgent] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = None
    _closed: bool = False

    @property
    def waits(self) -> bool:
        """Whether a start waits for something."""
        return self.triggers.waits or any(each.due is not None for each in (self._standings or {}).values())

    def next_start(self, name: str) -> float | None:
        """Say when an agent is started next, in seconds since the epoch; in the past, if that waits."""
        standing = (self._standings or {}).get(name)
        if standing is None:
            return None
        return standing.upcoming if standing.due is None else standing.due

    def in_words(self, name: str) -> str:
        """Say what an agent's schedule is."""
        standing = (self._standings or {}).get(name)
        return "" if standing is None else standing.cron + ("" if standing.zone is None else f" ({standing.zone})")

    def apply(
        self, desired: Mapping[str, DesiredAgent], lives: Callable[[], Mapping[str, Life]], *, all_known: bool
    ) -> Mapping[str, DesiredAgent]:
        """Give the declarations as schedules and triggers have them now; the same object while all is as it was.

        Parameters
        ----------
        all_known
            Whether all that is declared is among them: of the others it is forgotten how far they have come.
        """
        return self.triggers.apply(self._apply(desired, lives, all_known=all_known), lives, all_known=all_known)

    def _apply(
        self, desired: Mapping[str, DesiredAgent], lives: Callable[[], Mapping[str, Life]], *, all_known: bool
    ) -> Mapping[str, DesiredAgent]:
        declared = {name: each for name, each in desired.items() if each.spec.schedule is not None}
        if not declared and not self._standings:
            return desired
        there, now = lives(), self.wall()
        known = self._standings
        if known is None:
            known = dict(self.load())
        standings = known if not all_known else {name: each for name, each in known.items() if name in declared}
        standings = dict(standings)
        given: dict[str, _Given] = {}
        for name, each in declared.items():
            if not each.spec.enabled:
                standings.pop(name, None)
                continue
            life, before = there.get(name), self._given.get(name)
            if before is None or not before.stands(each, standings.get(name), life, now):
                standing = self._advance(each, standings.get(name), life, now)
                before = _Given(each, standing, life, self._give(each, standing, life))
            standings[name], given[name] = before.standing, before
        changed = standings != self._standings
        self._standings = standings
        if changed:
            self.keep(standings)
        self._set_timer([standings[name].upcoming for name in given], now)
        if self._all.keys() != desired.keys() or any(
            self._all[name] is not (given[name].scheduled if name in given else each) for name, each in desired.items()
        ):
            self._all = {name: given[name].scheduled if name in given else each for name, each in desired.items()}
        self._given = given
        return self._all

    def _advance(self, desired: DesiredAgent, standing: Standing | None, life: Life | None, now: float) -> Standing:
        schedule = desired.spec.schedule
        assert schedule is not None
        zone = self._zone_of(schedule)
        if self._standings is None and standing is not None:
            # As a former daemon wrote it.
            counted = begin(schedule, standing.since, zone)
            standing = replace(standing, upcoming=counted.upcoming)
        standing, decisions = advance(desired, standing, Seen(now, zone, life))
        for decision in decisions:
            self._tell(desired.spec.name, schedule, decision, now)
        return standing

    def _tell(self, name: str, schedule: Schedule, decision: Decision, now: float) -> None:
        late = round(now - decision.due, 3)
        data: dict[str, Detail] = {"due": rfc3339(decision.due), "late_seconds": late, "schedule": schedule.cron}
        self.emit(Event(_KINDS[decision.verdict], name, decision.reason, data))
        tell = log.info if decision.verdict is Verdict.DUE else log.warning
        reason = {} if decision.reason is None else {"reason": decision.reason}
        tell(_KINDS[decision.verdict].value, agent=name, **data, **reason)

    def _give(self, desired: DesiredAgent, standing: Standing, life: Life | None) -> DesiredAgent:
        schedule = desired.spec.schedule
        assert schedule is not None
        given = scheduled(desired, standing, life, self._zone_of(schedule))
        known = self._given.get(desired.spec.name)
        # What is as it was is the same object: nothing needs to be done about it.
        same = known is not None and known.desired is desired and known.scheduled == given
        return known.scheduled if known is not None and same else given

    def _zone_of(self, schedule: Schedule) -> tzinfo:
        zone = None if schedule.zone is None else named_zone(schedule.zone)
        return zone_of(self.zone) if zone is None else zone

    def _set_timer(self, starts: Iterable[float | None], now: float) -> None:
        """Wake at the first start: of those that are declared, since that of another is in the past and stays there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        upcoming = [each for each in starts if each is not None]
        if upcoming and not self._closed:
            delay = min(max(0.0, min(upcoming) - now), LONGEST_SLEEP)
            self._timer = asyncio.get_running_loop().call_later(delay, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.wake()

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
