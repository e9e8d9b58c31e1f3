"""Which host each agent has: a pure function of what is wished for, of the hosts, and of where agents are now."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, TypeAlias

from agentd.fleet.capacity import Demand, Room, demand_of, lacking, rooms_of
from agentd.fleet.plans import Assignment, Host, Leaving, Plan, Step, Wish
from agentd.model.placement import Labels, OnHostLoss, Place, Spread


def place(
    desired: Iterable[Wish], hosts: Iterable[Host], current: Mapping[str, str], leaving: Iterable[Leaving] = ()
) -> Plan:
    """Give each agent a host, or say why it has none.

    Whoever is on a host that may keep him stays; others go where there is room. No host is given more than it has, and
    nobody is moved for another. A plan of its own result changes nothing, and the order of the arguments is of no
    consequence.

    Parameters
    ----------
    hosts
        All that are known: one that is missing here counts as given up for good, and what was there as ended.
    current
        The host of each agent that has one, also of those that are wished for no more.
    leaving
        What is not in `current` and yet takes room.
    """
    wishes = sorted(desired, key=_first_to_stay)
    known = {host.name: host for host in hosts}
    rooms = rooms_of(known.values())
    for each in leaving:
        if each.host in rooms:
            rooms[each.host].take(demand_of(each.place), None)
    placing = _Placing(known, rooms)
    homeless = [wish for wish in wishes if not placing.keep(wish, current.get(wish.name))]
    placing.settle(sorted(homeless, key=_in_turn))
    names = {wish.name for wish in wishes}
    assignments = [placing.assignment(wish, current.get(wish.name)) for wish in wishes]
    return Plan(
        tuple(sorted(assignments, key=lambda each: each.agent)),
        tuple(sorted((agent, host) for agent, host in current.items() if agent not in names)),
    )


_Needs: TypeAlias = tuple[Labels, str | None]
"""What makes a host one for an agent: labels, and its name."""

_Rank: TypeAlias = tuple[int, float, int]
"""Replicas on a host, how full it is, and which it is."""


class _Placing:
    """The hosts while agents are placed on them."""

    def __init__(self, hosts: Mapping[str, Host], rooms: Mapping[str, Room]) -> None:
        self._hosts = hosts
        self._rooms = rooms
        self._open = [rooms[name] for name in sorted(hosts) if _shut(hosts[name]) is None]
        self._given: dict[str, tuple[Step, str, str]] = {}
        """Step, host and reason of agents that have a host."""
        self._pending: dict[Place, str] = {}
        self._failed: set[tuple[Labels, str | None, Demand]] = set()
        """What fits nowhere, and so never will: rooms only fill here."""
        self._fits: dict[_Needs, frozenset[int]] = {}
        self._best: dict[tuple[Labels, str | None, str | None], list[_Rank]] = {}
        self._by_load: list[tuple[float, int]] = []
        """The rooms that take something, the fullest first."""

    def keep(self, wish: Wish, now: str | None) -> bool:
        """Leave an agent where it is, if it may stay there."""
        host = None if now is None else self._hosts.get(now)
        if host is None:
            return False
        room, demand = self._rooms[host.name], demand_of(wish.place)
        reason = _waits(wish.place, host)
        stays = host.alive and not host.draining and _unfit(wish.place, host) is None and room.fits(demand)
        if reason is None and not stays:
            return False
        room.take(demand, wish.group)
        self._given[wish.name] = (Step.STAY, host.name, "") if reason is None else (Step.WAIT, host.name, reason)
        return True

    def settle(self, wishes: Iterable[Wish]) -> None:
        """Place agents without a host, in this order."""
        self._by_load = sorted((-room.load, at) for at, room in enumerate(self._open) if room.has_slots)
        for wish in wishes:
            demand = demand_of(wish.place)
            needs = (wish.place.labels, wish.place.host, demand)
            if needs in self._failed:
                continue
            at = self._fullest(wish, demand) if wish.place.spread is Spread.PACK else self._emptiest(wish, demand)
            if at is None:
                self._failed.add(needs)
                continue
            self._take(at, demand, wish.group)
            self._given[wish.name] = (Step.START, self._open[at].name, "")

    def _take(self, at: int, demand: Demand, group: str | None) -> None:
        room = self._open[at]
        del self._by_load[bisect_left(self._by_load, (-room.load, at))]
        room.take(demand, group)
        if room.has_slots:
            insort(self._by_load, (-room.load, at))

    def _fullest(self, wish: Wish, demand: Demand) -> int | None:
        fit = self._fit(wish.place)
        return next((at for _, at in self._by_load if at in fit and self._open[at].fits(demand)), None)

    def _emptiest(self, wish: Wish, demand: Demand) -> int | None:
        """Take the best of a heap whose entries may be too good: rooms only fill here."""
        of = (wish.place.labels, wish.place.host, wish.group)
        best = self._best.get(of)
        if best is None:
            best = self._best[of] = [self._rank(wish.group, at) for at in self._fit(wish.place)]
            heapify(best)
        found, too_small = None, []
        while best and found is None:
            entry = best[0]
            at = entry[2]
            room = self._open[at]
            now = self._rank(wish.group, at)
            if not room.has_slots:
                heappop(best)
            elif now != entry:
                heapreplace(best, now)
            elif room.fits(demand):
                found = at
            else:
                too_small.append(heappop(best))
        for entry in too_small:
            heappush(best, entry)
        return found

    def _rank(self, group: str | None, at: int) -> _Rank:
        room = self._open[at]
        return (room.replicas(group), room.load, at)

    def _fit(self, place: Place) -> frozenset[int]:
        """The hosts that an agent may have, if there is room."""
        of = (place.labels, place.host)
        if of not in self._fits:
            may = (at for at, room in enumerate(self._open) if _unfit(place, self._hosts[room.name]) is None)
            self._fits[of] = frozenset(may)
        return self._fits[of]

    def assignment(self, wish: Wish, now: str | None) -> Assignment:
        """Say what becomes of an agent, which was here before."""
        found = self._given.get(wish.name)
        if found is None:
            reason = self._pending.get(wish.place)
            if reason is None:
                reason = self._pending[wish.place] = self._why(wish.place)
            return Assignment(wish.name, Step.PENDING, None, now, reason)
        step, host, reason = found
        if step is Step.START and now is not None:
            old = self._hosts.get(now)
            lost = old is None or not old.alive
            # What ran on a host that is lost has ended: nothing is stopped there.
            return Assignment(wish.name, Step.START if lost else Step.MOVE, host, now, self._left(wish.place, now))
        return Assignment(wish.name, step, host, now, reason)

    def _left(self, place: Place, now: str) -> str:
        """Why an agent does not stay."""
        host = self._hosts.get(now)
        if host is None:
            return f"{now} is gone"
        if not host.alive:
            return f"{now} is lost"
        unfit = _unfit(place, host)
        if unfit is not None:
            return f"{now} is {unfit}"
        return f"{now} is drained" if host.draining else f"{now} has no room"

    def _why(self, place: Place) -> str:
        """Why no host takes an agent: which lack what."""
        if not self._hosts:
            return "there are no hosts"
        if place.host is not None and place.host not in self._hosts:
            return f"there is no host {place.host}"
        lacks: dict[str, list[str]] = {}
        demand = demand_of(place)
        for name in sorted(self._hosts):
            if place.host is None or place.host == name:
                host = self._hosts[name]
                lack = _shut(host) or _unfit(place, host) or lacking(self._rooms[name], demand)
                lacks.setdefault(lack, []).append(name)
        return "; ".join(f"{_names(names)} {lack}" for lack, names in lacks.items())


_FEW: Final = 3
"""Hosts that a reason names."""


def _names(names: list[str]) -> str:
    return ", ".join(names) + ":" if len(names) <= _FEW else f"{len(names)} hosts:"


def _first_to_stay(wish: Wish) -> tuple[object, ...]:
    """Sort: the urgent first, then the small, of which most stay on a host that has become too small for all."""
    at = wish.place
    return (-wish.priority, at.gpus, at.slots, at.cpus, at.memory, wish.name)


def _in_turn(wish: Wish) -> tuple[object, ...]:
    """Sort: the urgent first, then whoever is the hardest to place; replicas together."""
    at = wish.place
    picky = (at.host or "", at.labels, str(at.spread), wish.group or "")
    size = (-at.gpus, -at.slots, -at.cpus, -at.memory)
    return (-wish.priority, at.host is None, not at.labels, *size, *picky, wish.name)


def _shut(host: Host) -> str | None:
    """Why a host takes nothing new, or ``None``."""
    if not host.alive:
        return "lost"
    if host.draining:
        return "drained"
    return "cordoned" if host.cordoned else None


def _unfit(place: Place, host: Host) -> str | None:
    """Why a host is never one for an agent, or ``None``."""
    if place.host is not None and place.host != host.name:
        return f"not {place.host}"
    missing = [f"{name}={value}" for name, value in place.labels if (name, value) not in host.labels]
    return f"without label {', '.join(missing)}" if missing else None


def may_still_run(host: str) -> str:
    """Say why an agent of a lost host is launched nowhere else."""
    return f"{host} is lost, and the agent may still run there"


def _waits(place: Place, host: Host) -> str | None:
    """Why an agent waits for its host, which is lost, or ``None`` if it does not."""
    if host.alive:
        return None
    if not host.fenced:
        # Whatever else is wished for it: it must not run twice.
        return may_still_run(host.name)
    if place.on_host_loss is OnHostLoss.WAIT and _unfit(place, host) is None:
        return f"{host.name} is lost, and on_host_loss is wait"
    return None
