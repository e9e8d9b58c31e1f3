"""What holds of every placement."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.fleet.capacity import demand_of, rooms_of
from agentd.fleet.placement import place
from agentd.fleet.plans import Host, Step, Wish
from agentd.fleet.rebalancing import rebalance
from agentd.model.placement import OnHostLoss, Place, Spread
from tests.support.thorough import everyday

ZONES = st.sampled_from([(), (("zone", "a"),), (("zone", "b"),)])
PLACES = st.builds(
    Place,
    slots=st.integers(1, 3),
    cpus=st.sampled_from([0.0, 0.1, 0.5, 2.0]),
    memory=st.sampled_from([0, 0, 1, 3]),
    gpus=st.sampled_from([0.0, 0.0, 0.5]),
    labels=ZONES,
    host=st.sampled_from([None, None, None, "h1", "h9"]),
    spread=st.sampled_from(Spread),
    on_host_loss=st.sampled_from(OnHostLoss),
)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Wish], list[Host], dict[str, str]]:
    """Wishes, hosts, and where agents are: anywhere, also where they should not be."""
    hosts = [
        Host(
            f"h{at}",
            draw(st.integers(0, 6)),
            draw(st.sampled_from([0.0, 1.0, 4.0])),
            draw(st.integers(0, 6)),
            draw(st.sampled_from([0.0, 1.0])),
            draw(ZONES),
            cordoned=draw(st.booleans()) and draw(st.booleans()),
            draining=draw(st.booleans()) and draw(st.booleans()),
            alive=draw(st.booleans()) or draw(st.booleans()),
            fenced=draw(st.booleans()),
        )
        for at in range(draw(st.integers(0, 6)))
    ]
    kinds = draw(st.lists(PLACES, min_size=1, max_size=4))
    wishes = [
        Wish(f"a{at}", draw(st.sampled_from(kinds)), draw(st.sampled_from([None, "g", "k"])), draw(st.integers(0, 1)))
        for at in range(draw(st.integers(0, 14)))
    ]
    where = [*(host.name for host in hosts), "gone"]
    current = {
        name: draw(st.sampled_from(where))
        for name in (*(wish.name for wish in wishes), "removed")
        if draw(st.booleans())
    }
    return wishes, hosts, current


def over_committed(wishes: Sequence[Wish], hosts: Sequence[Host], placed: Mapping[str, str]) -> list[str]:
    """Hosts with more than they have room for."""
    rooms = rooms_of(hosts)
    by_name = {wish.name: wish for wish in wishes}
    for agent, host in placed.items():
        rooms[host].take(demand_of(by_name[agent].place), None)
    return [name for name, room in rooms.items() if min(room.slots, room.cpus, room.memory, room.gpus) < 0]


@given(fleets())
def test_no_host_is_given_more_than_it_has_nor_what_it_may_not_have(
    fleet: tuple[list[Wish], list[Host], dict[str, str]],
) -> None:
    wishes, hosts, current = fleet
    for plan in (place(wishes, hosts, current), rebalance(wishes, hosts, current)):
        by_name = {host.name: host for host in hosts}
        alive = [host for host in hosts if host.alive]
        runs = {agent: host for agent, host in plan.placed.items() if by_name[host].alive}
        assert over_committed(wishes, alive, runs) == []
        for wish in wishes:
            host = plan.placed.get(wish.name)
            if host in runs.values() and wish.name in runs:
                assert wish.place.host in (None, host)
                assert set(wish.place.labels) <= set(by_name[runs[wish.name]].labels)
        assert [each.agent for each in plan.assignments] == sorted(wish.name for wish in wishes)


@given(fleets())
def test_a_plan_of_its_own_result_changes_nothing(fleet: tuple[list[Wish], list[Host], dict[str, str]]) -> None:
    wishes, hosts, current = fleet
    first = place(wishes, hosts, current)
    again = place(wishes, hosts, first.placed)
    assert again.placed == first.placed
    assert {each.step for each in again.changes} <= {Step.PENDING, Step.WAIT}
    reasons = {each.agent: each.reason for each in again.changes}
    assert reasons == {each.agent: each.reason for each in first.assignments if each.step in (Step.PENDING, Step.WAIT)}


@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_told_is_of_no_consequence(
    fleet: tuple[list[Wish], list[Host], dict[str, str]], chance: random.Random
) -> None:
    wishes, hosts, current = fleet
    others, machines, places = list(wishes), list(hosts), list(current.items())
    chance.shuffle(others)
    chance.shuffle(machines)
    chance.shuffle(places)
    assert place(others, machines, dict(places)) == place(wishes, hosts, current)
    assert rebalance(others, machines, dict(places)) == rebalance(wishes, hosts, current)


@given(fleets())
def test_whoever_may_stay_stays(fleet: tuple[list[Wish], list[Host], dict[str, str]]) -> None:
    wishes, hosts, current = fleet
    plan = place(wishes, hosts, current)
    rooms = rooms_of(hosts)
    by_name = {host.name: host for host in hosts}
    for wish in wishes:
        if wish.name in plan.placed:
            rooms[plan.placed[wish.name]].take(demand_of(wish.place), None)
    for wish in wishes:
        now = by_name.get(current.get(wish.name, ""))
        if now is None or plan.placed.get(wish.name) == now.name:
            continue
        allowed = (
            now.alive
            and not now.draining
            and wish.place.host in (None, now.name)
            and set(wish.place.labels) <= set(now.labels)
        )
        # It left although it was allowed to stay: then others that stay, or are more urgent, have the room.
        assert not (allowed and rooms[now.name].fits(demand_of(wish.place)))


@given(fleets())
def test_an_agent_that_may_run_on_a_lost_host_is_nowhere_else(
    fleet: tuple[list[Wish], list[Host], dict[str, str]],
) -> None:
    wishes, hosts, current = fleet
    unsure = {host.name for host in hosts if not host.alive and not host.fenced}
    for plan in (place(wishes, hosts, current), rebalance(wishes, hosts, current)):
        for each in plan.assignments:
            if each.previous in unsure:
                assert (each.step, each.host) == (Step.WAIT, each.previous)


@given(fleets())
def test_what_is_pending_fits_nowhere(fleet: tuple[list[Wish], list[Host], dict[str, str]]) -> None:
    wishes, hosts, current = fleet
    plan = place(wishes, hosts, current)
    rooms = rooms_of(hosts)
    by_name = {wish.name: wish for wish in wishes}
    for agent, host in plan.placed.items():
        rooms[host].take(demand_of(by_name[agent].place), None)
    for each in plan.assignments:
        if each.step is Step.PENDING:
            at = by_name[each.agent].place
            open_hosts = [host for host in hosts if host.alive and not host.cordoned and not host.draining]
            fit = [host for host in open_hosts if set(at.labels) <= set(host.labels) and at.host in (None, host.name)]
            assert not any(rooms[host.name].fits(demand_of(at)) for host in fit)
            assert each.reason


@given(st.integers(20, 60), st.integers(0, 400), st.integers(0, 30))
def test_replicas_are_spread_evenly_over_like_hosts(number: int, agents: int, more: int) -> None:
    hosts = [Host(f"h{at:03}", 100) for at in range(number)]
    first = place([Wish(f"r-{at}", Place(), "r") for at in range(agents)], hosts, {})
    plan = place([Wish(f"r-{at}", Place(), "r") for at in range(agents + more)], hosts, first.placed)
    counts = Counter({host.name: 0 for host in hosts})
    counts.update(plan.placed.values())
    assert max(counts.values()) - min(counts.values()) <= 1


@given(fleets())
def test_rebalancing_ends(fleet: tuple[list[Wish], list[Host], dict[str, str]]) -> None:
    wishes, hosts, current = fleet
    now = dict(current)
    for _ in range(20):
        plan = rebalance(wishes, hosts, now)
        if plan.placed == now:
            return
        now = dict(plan.placed)
    pytest.fail("it still offers moves after twenty times")


def test_rebalancing_fills_a_new_host() -> None:
    wishes = [Wish(f"r-{at}", Place(), "r") for at in range(12)]
    before = place(wishes, [Host(f"h{at}", 12) for at in range(2)], {}).placed
    plan = rebalance(wishes, [Host(f"h{at}", 12) for at in range(3)], before)
    assert Counter(plan.placed.values()) == {"h0": 4, "h1": 4, "h2": 4}
    moves = [each for each in plan.assignments if each.step is Step.MOVE]
    assert len(moves) == 4
    assert {each.reason for each in moves} == {"h0 is fuller than h2", "h1 is fuller than h2"}
    few = rebalance(wishes, [Host(f"h{at}", 12) for at in range(3)], before, most=1)
    assert len(few.changes) == 1


def many(number: int) -> list[Wish]:
    """Agents of all kinds, alone and as replicas."""
    chance = random.Random(number)
    found = []
    for at in range(number):
        zone = chance.choice([(), (("zone", "a"),), (("zone", "b"),)])
        wanted = Place(
            chance.choice([1, 1, 2]),
            chance.choice([0.0, 0.25, 1.0]),
            chance.randrange(0, 4 * 1024**3),
            labels=zone,
            spread=chance.choice([*Spread]),
        )
        found.append(Wish(f"a{at}", wanted, None if at % 3 else f"g{at // 300}"))
    return found


def large(number: int) -> list[Host]:
    return [Host(f"h{at:03}", 60, 64, 64 * 1024**3, labels=(("zone", "ab"[at % 2]),)) for at in range(number)]


@pytest.mark.parametrize("number", everyday([200], [20, 200]))
def test_five_thousand_agents_are_placed_within_a_second(number: int) -> None:
    wishes, hosts = many(5000), large(number)
    before = time.process_time()
    plan = place(wishes, hosts, {})
    first = time.process_time() - before
    again = place(wishes, hosts, plan.placed)
    second = time.process_time() - before - first
    assert over_committed(wishes, hosts, plan.placed) == []
    assert again.placed == plan.placed
    # Of CPU: the machine may have other work, and may be slow.
    assert max(first, second) < max(1.0, 10 * _reference())


def _reference() -> float:
    """What takes 0.05 s where the limit is to be a second."""
    before = time.process_time()
    assert sum(at % 7 for at in range(1_000_000)) > 0
    return time.process_time() - before
