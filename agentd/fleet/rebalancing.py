"""Which moves would even out a fleet: offered, never made by themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice
from typing import Final, TypeAlias

from agentd.fleet.capacity import Room, demand_of, rooms_of
from agentd.fleet.placement import place
from agentd.fleet.plans import Assignment, Host, Plan, Step, Wish
from agentd.model.placement import Place, Spread

MOST_MOVES: Final = 1000


def rebalance(
    desired: Iterable[Wish], hosts: Iterable[Host], current: Mapping[str, str], most: int = MOST_MOVES
) -> Plan:
    """Plan as `place` does, and beside it offer moves from full hosts to emptier ones.

    A move is offered where it leaves the emptier host less full than the fuller one was, for agents that are spread
    over hosts. What is on hosts that are cordoned or lost stays there.

    Parameters
    ----------
    most
        Moves that are offered at most.
    """
    wishes = {wish.name: wish for wish in desired}
    known = {host.name: host for host in hosts}
    plan = place(wishes.values(), known.values(), current)
    rooms = rooms_of(known.values())
    for agent, host in plan.placed.items():
        rooms[host].take(demand_of(wishes[agent].place), wishes[agent].group)
    open_hosts = [name for name, host in known.items() if host.alive and not host.cordoned and not host.draining]
    evening = _Evening(known, {name: rooms[name] for name in sorted(open_hosts)})
    for each in plan.assignments:
        wish = wishes[each.agent]
        free = wish.place.spread is Spread.HOSTS and wish.place.host is None
        if each.step is Step.STAY and free and each.host is not None:
            evening.may_move(wish, each.host)
    moved = {agent: (source, target) for agent, source, target in islice(evening.moves(), most)}
    return Plan(tuple(_with_move(each, moved.get(each.agent)) for each in plan.assignments), plan.removed)


def _with_move(each: Assignment, move: tuple[str, str] | None) -> Assignment:
    if move is None:
        return each
    source, target = move
    return replace(each, step=Step.MOVE, host=target, reason=f"{source} is fuller than {target}")


_Kind: TypeAlias = tuple[str | None, Place]
"""Group and place of agents that are alike."""


def _more(there: Room, here: Room, group: str | None) -> int:
    return there.replicas(group) - here.replicas(group)


class _Evening:
    """Hosts while agents are moved between them."""

    def __init__(self, hosts: Mapping[str, Host], rooms: Mapping[str, Room]) -> None:
        self._hosts = hosts
        self._rooms = rooms
        self._movable: dict[str, dict[_Kind, list[str]]] = {name: {} for name in rooms}
        """Agents that may leave, by host and kind: heaps of names."""

    def may_move(self, wish: Wish, host: str) -> None:
        """Let an agent leave its host, if that is one of these."""
        if host in self._movable:
            heappush(self._movable[host].setdefault((wish.group, wish.place), []), wish.name)

    def moves(self) -> Iterator[tuple[str, str, str]]:
        """Give agents with the host that each leaves, and the one that it goes to; each agent at most once."""
        while (found := self._best()) is not None:
            kind, source, target = found
            (group, place), names = kind, self._movable[source][kind]
            agent = heappop(names)
            if not names:
                del self._movable[source][kind]
            demand = demand_of(place)
            self._rooms[source].give_back(demand, group)
            self._rooms[target].take(demand, group)
            yield agent, source, target

    def _best(self) -> tuple[_Kind, str, str] | None:
        by_load = sorted(self._rooms, key=lambda name: (self._rooms[name].load, name))
        for source in reversed(by_load):
            candidates, room = self._movable[source], self._rooms[source]
            for target in by_load:
                if not candidates or self._rooms[target].load >= room.load:
                    break
                there = self._rooms[target]
                # Those of which the fuller host has more replicas first.
                fit = [kind for kind in candidates if self._improves(kind[1], room, target)]
                if fit:
                    best = min(fit, key=lambda kind: (_more(there, room, kind[0]), candidates[kind][0]))
                    return best, source, target
        return None

    def _improves(self, place: Place, source: Room, target: str) -> bool:
        demand, room = demand_of(place), self._rooms[target]
        if room.load_with(room.slots - demand.slots) >= source.load or not room.fits(demand):
            return False
        return all(label in self._hosts[target].labels for label in place.labels)
