"""How much room hosts have, and how much of it agents take. Exact: fractions are counted in thousandths."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from agentd.fleet.plans import Host
from agentd.model.placement import Place
from agentd.text.sizes import format_size

_PARTS: Final = 1000
"""Of a core or a GPU."""


class Demand(NamedTuple):
    """What an agent takes, or a host has left."""

    slots: int
    cpus: int
    """Thousandths of cores."""
    memory: int
    """Bytes."""
    gpus: int
    """Thousandths of GPUs."""


@lru_cache(maxsize=4096)
def demand_of(place: Place) -> Demand:
    """Give what an agent takes."""
    return Demand(place.slots, _parts(place.cpus), place.memory, _parts(place.gpus))


def rooms_of(hosts: Iterable[Host]) -> dict[str, Room]:
    """Give each host's room while nothing is on it."""
    return {
        host.name: Room(host.name, Demand(host.slots, _parts(host.cpus), host.memory, _parts(host.gpus)))
        for host in hosts
    }


class Room:
    """What is left of a host."""

    __slots__ = ("_replicas", "cpus", "gpus", "load", "memory", "name", "slots", "whole")

    def __init__(self, name: str, whole: Demand) -> None:
        self.name = name
        self.whole = whole
        self.slots, self.cpus, self.memory, self.gpus = whole
        self._replicas: dict[str, int] = {}
        self.load = self.load_with(self.slots)
        """Which share of its slots is taken."""

    @property
    def has_slots(self) -> bool:
        """Whether it can take anything at all."""
        return self.slots > 0

    def load_with(self, slots: int) -> float:
        """What `load` is with so many slots left."""
        return 1 - slots / self.whole.slots if self.whole.slots else 1.0

    def replicas(self, group: str | None) -> int:
        """How many of a group are here."""
        return 0 if group is None else self._replicas.get(group, 0)

    def fits(self, demand: Demand) -> bool:
        """Whether there is room."""
        slots, cpus, memory, gpus = demand
        return (
            slots <= self.slots
            and (not cpus or cpus <= self.cpus)
            and (not memory or memory <= self.memory)
            and (not gpus or gpus <= self.gpus)
        )

    def take(self, demand: Demand, group: str | None) -> None:
        """Count an agent."""
        self._change(demand, group, 1)

    def give_back(self, demand: Demand, group: str | None) -> None:
        """Stop counting it."""
        self._change(demand, group, -1)

    def _change(self, demand: Demand, group: str | None, sign: int) -> None:
        self.slots -= sign * demand.slots
        self.cpus -= sign * demand.cpus
        self.memory -= sign * demand.memory
        self.gpus -= sign * demand.gpus
        self.load = self.load_with(self.slots)
        if group is not None:
            self._replicas[group] = self._replicas.get(group, 0) + sign


def lacking(room: Room, demand: Demand) -> str:
    """Say what a room that is too small lacks."""
    short = [
        text
        for wanted, left, text in (
            (demand.slots, room.slots, "slots"),
            (demand.cpus, room.cpus, "cpus"),
            (demand.memory, room.memory, "memory"),
            (demand.gpus, room.gpus, "gpus"),
        )
        if wanted and wanted > left
    ]
    return f"no room ({', '.join(short)})"


def shown(demand: Demand) -> str:
    """Format what an agent takes or a host has: ``4 slots, 2 cpus, 8GiB``."""
    parts = [f"{demand.slots} slots"]
    if demand.cpus:
        parts.append(f"{demand.cpus / _PARTS:g} cpus")
    if demand.memory:
        parts.append(format_size(demand.memory))
    if demand.gpus:
        parts.append(f"{demand.gpus / _PARTS:g} gpus")
    return ", ".join(parts)


def _parts(number: float) -> int:
    return round(number * _PARTS)
