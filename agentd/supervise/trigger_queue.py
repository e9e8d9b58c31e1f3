"""Starts agents by their triggers: keeps what came until there was a run for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agentd.model.triggers import Delivery, Trigger
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.triggering import Standing, Verdict, accept, advance, triggered


@dataclass(frozen=True, slots=True)
class SeenFiles:
    """What a trigger has seen of its folder."""

    folder: int
    """Its inode: what another file system that is mounted there holds has not appeared."""
    names: frozenset[str]
    """Those that were dealt with, of the files that are there."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the next daemon must know."""

    standings: Mapping[str, Standing] = field(default_factory=dict)
    """By agent."""
    seen: Mapping[str, SeenFiles] = field(default_factory=dict)
    """By trigger, as `key` names it."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What an agent was given, and what that was decided by."""

    desired: DesiredAgent
    standing: Standing
    life: Life | None
    triggered: DesiredAgent

    def stands(self, desired: DesiredAgent, standing: Standing | None, life: Life | None) -> bool:
        return self.desired is desired and self.standing is standing and self.life is life


def key(trigger: Trigger) -> str:
    """Name a trigger, of whatever file, and what it looks at."""
    return f"{trigger.agent}/{trigger.name}/{trigger.source}"


@dataclass(slots=True)
class TriggerQueue:
    """What came by the triggers of all agents.

    Parameters
    ----------
    load, keep
        Read and write it, for the next daemon.
    is_written
        Whether it is: what could not be written may be later.
    wall
        Seconds since the epoch.
    """

    load: Callable[[], Kept] = Kept
    keep: Callable[[Kept], None] = lambda _: None
    is_written: Callable[[], bool] = lambda: True
    wall: Callable[[], float] = time.time
    declared: Mapping[str, DesiredAgent] = field(default_factory=dict)
    """The enabled agents that have triggers, by name."""
    _kept: Kept | None = None
    """``None`` until an agent has one: the file is not read before."""
    _given: dict[str, _Given] = field(default_factory=dict)
    _all: Mapping[str, DesiredAgent] = field(default_factory=dict)

    @property
    def written(self) -> bool:
        """Whether the next daemon would know all that this one does."""
        return self.is_written()

    @property
    def waits(self) -> bool:
        """Whether something that came waits for its run, or for a note that it has it."""
        standings = {} if self._kept is None else self._kept.standings
        return any(standing.waiting or standing.by_hand for standing in standings.values())

    def waiting(self, name: str) -> int:
        """Count what waits for a run of an agent."""
        standing = None if self._kept is None else self._kept.standings.get(name)
        return 0 if standing is None else len(standing.waiting)

    def is_safe(self, name: str, id_: str) -> bool:
        """Whether something that came for an agent is written down, or waits no more: nobody else need keep it."""
        standing = None if self._kept is None else self._kept.standings.get(name)
        return self.written or standing is None or all(each.id != id_ for each in standing.waiting)

    def apply(
        self, desired: Mapping[str, DesiredAgent], lives: Callable[[], Mapping[str, Life]], *, all_known: bool
    ) -> Mapping[str, DesiredAgent]:
        """Give the declarations as the triggers have them now; the same object while all is as it was.

        Parameters
        ----------
        all_known
            Whether all that is declared is among them: of the others it is forgotten what came.
        """
        declared = {name: each for name, each in desired.items() if each.spec.triggers}
        if not declared and (self._kept is None or not self._kept.standings):
            self.declared = declared
            return desired
        if self._kept is None:
            self._kept = self.load()
        there, now = lives(), self.wall()
        standings = {name: each for name, each in self._kept.standings.items() if not all_known or name in declared}
        given: dict[str, _Given] = {}
        for name, each in declared.items():
            if not each.spec.enabled:
                # What came before is of no use to whoever enables it again.
                standings.pop(name, None)
                continue
            life, before = there.get(name), self._given.get(name)
            if before is None or not before.stands(each, standings.get(name), life):
                standing = advance(each, standings.get(name), life, now)
                result = triggered(each, standing, life)
                if before is not None and before.desired is each and before.triggered == result:
                    # What is as it was is the same object: nothing needs to be done about it.
                    result = before.triggered
                before = _Given(each, standing, life, result)
            standings[name], given[name] = before.standing, before
        self.declared = {name: declared[name] for name in given}
        self._given = given
        seen = self._kept.seen
        if all_known:
            known = {key(trigger) for each in self.declared.values() for trigger in each.spec.triggers}
            seen = {name: each for name, each in seen.items() if name in known}
        self._change(standings, seen)
        if self._all.keys() != desired.keys() or any(
            self._all[name] is not (given[name].triggered if name in given else each) for name, each in desired.items()
        ):
            self._all = {name: given[name].triggered if name in given else each for name, each in desired.items()}
        return self._all

    def seen(self, trigger: Trigger) -> SeenFiles | None:
        """What a trigger has seen; ``None`` if it never looked."""
        return None if self._kept is None else self._kept.seen.get(key(trigger))

    def has_seen(self, trigger: Trigger, seen: SeenFiles) -> None:
        """Take note of what a trigger has dealt with."""
        if self._kept is not None:
            self._change(self._kept.standings, {**self._kept.seen, key(trigger): seen})

    def offer(
        self, trigger: Trigger, delivery: Delivery, life: Life | None, seen: SeenFiles | None = None
    ) -> tuple[Verdict, str | None]:
        """Offer what came, and what was seen with it; what is accepted is on disk by then, if that is `written`.

        Says why it is not accepted.
        """
        standing = None if self._kept is None else self._kept.standings.get(trigger.agent)
        if self._kept is None or standing is None or trigger.agent not in self.declared:
            return Verdict.FULL, "the agent is not declared any more"
        decision = accept(standing, trigger, delivery, life)
        looked = self._kept.seen
        if seen is not None and decision.verdict is not Verdict.FULL:
            looked = {**looked, key(trigger): seen}
        self._change({**self._kept.standings, trigger.agent: decision.standing}, looked)
        return decision.verdict, decision.reason

    def _change(self, standings: Mapping[str, Standing], seen: Mapping[str, SeenFiles]) -> None:
        assert self._kept is not None
        if standings != self._kept.standings or seen != self._kept.seen:
            # Before anything is launched by it.
            self._kept = replace(self._kept, standings=standings, seen=seen)
            self.keep(self._kept)
        else:
            self._kept = replace(self._kept, standings=standings)
