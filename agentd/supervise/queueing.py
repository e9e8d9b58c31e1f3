"""Which agents wait for a slot, in which place and why: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from agentd.model.capacity import EACH, Capacity, Claims, Queued, SlotPool
from agentd.text.quoting import quote
from agentd.text.sizes import about, format_size

_MOST_NAMED: Final = 3
"""Agents that a reason names."""

_RUNNING: Final = "running"
_MEMORY: Final = "memory"

Slot: TypeAlias = tuple[str, ...]
"""One thing that only so many agents have at once."""


@dataclass(frozen=True, slots=True)
class Holder:
    """An agent that runs, or will without being judged again."""

    name: str
    memory: int | None
    claims: tuple[Claims, ...]
    """Of its run, and of the launch that follows it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent that is to be launched."""

    name: str
    memory: int | None
    claims: Claims
    priority: int
    since: float
    """When it was first to be launched, in seconds since the epoch."""
    order: int
    """Its place in the files."""
    holds: Holder | None = None
    """What it has already: it is launched anew, as something else."""


def slots_of(name: str, claims: Claims, capacity: Capacity) -> Iterator[tuple[Slot, SlotPool | None]]:
    """Give the slots that an agent takes: of pools, and of its repository if it writes there."""
    for pool in capacity.pools:
        if pool.agents is not None and not any(fnmatchcase(name.lower(), each.lower()) for each in pool.agents):
            continue
        whose = _named(pool.repository, claims.repository), _named(pool.account, claims.account)
        if None not in whose:
            yield ("pool", pool.name, *(each or "" for each in whose)), pool
    if capacity.one_writer and claims.writes and claims.repository is not None:
        yield ("writer", claims.repository), None


def _named(wanted: str | None, found: str | None) -> str | None:
    """Say for which value a slot is, ``""`` if for any; ``None`` if the pool is not about it."""
    if wanted is None:
        return ""
    if wanted == EACH:
        return found
    return "" if wanted == found else None


@dataclass(slots=True)
class _Taken:
    """What is taken so far, and what is closed to those behind one who waits for it."""

    capacity: Capacity
    running: int = 0
    memory: int = 0
    slots: dict[Slot, set[str]] = field(default_factory=dict)
    closed: dict[Slot, str] = field(default_factory=dict)
    """By whom."""

    def take(self, name: str, memory: int | None, claims: Iterable[Claims], *, anew: bool = False) -> None:
        if not anew:
            self.running += 1
            self.memory += memory or 0
        for each in claims:
            for slot, _ in slots_of(name, each, self.capacity):
                self.slots.setdefault(slot, set()).add(name)

    def lacks(self, one: Candidate) -> Iterator[tuple[Slot, str]]:
        """Say what an agent waits for."""
        if one.holds is None:
            lacks_room = list(self._lacks_room(one))
            yield from lacks_room
            if lacks_room and lacks_room[0][0] == (_RUNNING,):
                # Nobody behind it is launched either; for 1000 that wait, asking for a pool too took 2.5 times as long.
                return
        for slot, pool in slots_of(one.name, one.claims, self.capacity):
            holders = self.slots.get(slot, set()) - {one.name}
            if one.name in self.slots.get(slot, ()):
                continue
            if pool is None and holders:
                yield slot, f"{_names(holders)} writes to {slot[1]} itself, as it would"
            elif pool is not None and len(holders) >= pool.slots:
                whose = " of ".join(filter(None, (quote(pool.name), *slot[2:])))
                yield slot, f"all {pool.slots} slots of the pool {whose} are taken, by {_names(holders)}"
            elif slot in self.closed:
                what = f"a slot of the pool {quote(pool.name)}" if pool is not None else slot[1]
                yield slot, f"{self.closed[slot]} is before it for {what}"

    def _lacks_room(self, one: Candidate) -> Iterator[tuple[Slot, str]]:
        most, memory = self.capacity.running, self.capacity.memory
        if most is not None and self.running >= most:
            yield (_RUNNING,), f"all {most} of [limits] running are taken"
        elif (_RUNNING,) in self.closed:
            yield (_RUNNING,), f"{self.closed[(_RUNNING,)]} is before it"
        if memory is None or not one.memory:
            return
        wants = f"it wants {about(one.memory)}, and {about(self.memory)} of {format_size(memory)} of [limits] memory"
        if one.memory > memory:
            # Nobody waits behind one who can never run.
            yield (), f"{wants} are taken: it never fits"
        elif self.memory + one.memory > memory:
            yield (_MEMORY,), f"{wants} are taken"
        elif (_MEMORY,) in self.closed:
            yield (_MEMORY,), f"{self.closed[(_MEMORY,)]} is before it for [limits] memory"


def _names(holders: set[str]) -> str:
    named = sorted(holders)[:_MOST_NAMED]
    more = len(holders) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def queue(candidates: Iterable[Candidate], holders: Iterable[Holder], capacity: Capacity) -> Mapping[str, Queued]:
    """Say who of the agents that are to be launched must wait; the others are to be launched now.

    Higher priorities come first, then who came first, then the order of the files. Who waits for something is passed
    only by those who do not want it. Nobody who runs is stopped for another.
    """
    taken = _Taken(capacity)
    for each in holders:
        taken.take(each.name, each.memory, each.claims)
    waiting: dict[str, Queued] = {}
    for one in sorted(candidates, key=lambda each: (-each.priority, each.since, each.order)):
        lacks = list(taken.lacks(one))
        if not lacks:
            taken.take(one.name, one.memory, (one.claims,), anew=one.holds is not None)
            continue
        for slot, _ in lacks:
            taken.closed.setdefault(slot, one.name)
        waiting[one.name] = Queued(len(waiting) + 1, "; ".join(why for _, why in lacks), one.since)
    return waiting
