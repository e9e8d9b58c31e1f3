"""Which moves would even out a fleet: offered, never made by themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.fleet.capacity import Room, demand_of, rooms_of
from agentd.fleet.placement import place
from agentd.fleet.plans import Assignment, Host, Plan, Step, Wish
from agentd.model.placement import Spread

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
    open_hosts = {name for name, host in known.items() if host.alive and not host.cordoned and not host.draining}
    rooms = rooms_of(known.values())
    on: dict[str, set[str]] = {name: set() for name in open_hosts}
    for agent, host in plan.placed.items():
        rooms[host].take(demand_of(wishes[agent].place), wishes[agent].group)
        if host in on:
            on[host].add(agent)
    moved: dict[str, Assignment] = {}
    by_name = {each.agent: each for each in plan.assignments}
    movable = {
        agent
        for agent, wish in wishes.items()
        if wish.place.spread is Spread.HOSTS and wish.place.host is None and by_name[agent].step is Step.STAY
    }
    for agent, source, target in _moves(wishes, known, {name: rooms[name] for name in on}, on, movable, most):
        reason = f"{source} is fuller than {target}"
        moved[agent] = replace(by_name[agent], step=Step.MOVE, host=target, reason=reason)
    return Plan(tuple(moved.get(each.agent, each) for each in plan.assignments), plan.removed)


def _moves(
    wishes: Mapping[str, Wish],
    hosts: Mapping[str, Host],
    rooms: Mapping[str, Room],
    on: Mapping[str, set[str]],
    movable: set[str],
    most: int,
) -> Iterator[tuple[str, str, str]]:
    """Give agents with the host that each leaves, and the one that it goes to; each agent at most once."""
    for _ in range(most):
        found = _best_move(wishes, hosts, rooms, on, movable)
        if found is None:
            return
        agent, source, target = found
        demand, group = demand_of(wishes[agent].place), wishes[agent].group
        rooms[source].give_back(demand, group)
        rooms[target].take(demand, group)
        on[source].discard(agent)
        on[target].add(agent)
        movable.discard(agent)
        yield found


def _best_move(
    wishes: Mapping[str, Wish],
    hosts: Mapping[str, Host],
    rooms: Mapping[str, Room],
    on: Mapping[str, set[str]],
    movable: set[str],
) -> tuple[str, str, str] | None:
    by_load = sorted(rooms, key=lambda name: (rooms[name].load, name))
    for source in reversed(by_load):
        candidates = sorted(on[source] & movable)
        for target in by_load:
            if not candidates or rooms[target].load >= rooms[source].load:
                break
            fit = [
                agent for agent in candidates if _improves(wishes[agent], hosts[target], rooms[source], rooms[target])
            ]
            if fit:
                # Those of which the fuller host has more replicas first.
                best = min(fit, key=lambda agent: (_more_there(wishes[agent], rooms[target], rooms[source]), agent))
                return best, source, target
    return None


def _more_there(wish: Wish, target: Room, source: Room) -> int:
    return target.replicas(wish.group) - source.replicas(wish.group)


def _improves(wish: Wish, target: Host, source: Room, room: Room) -> bool:
    demand = demand_of(wish.place)
    if not room.fits(demand) or not set(wish.place.labels) <= set(target.labels):
        return False
    return room.load_with(room.slots - demand.slots) < source.load
