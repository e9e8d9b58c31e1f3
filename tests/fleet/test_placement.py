"""Where agents are placed, by examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agentd.fleet.placement import place
from agentd.fleet.plans import Assignment, Host, Leaving, Plan, Step, Wish
from agentd.fleet.rebalancing import rebalance
from agentd.model.placement import OnHostLoss, Place, Spread

GIB = 1024**3


def hosts(number: int, slots: int = 4) -> list[Host]:
    return [Host(f"h{at}", slots) for at in range(number)]


def replicas(number: int, at: Place = Place(), group: str = "r") -> list[Wish]:
    return [Wish(f"{group}-{index}", at, group) for index in range(number)]


def one(wish: Wish, of: list[Host], current: Mapping[str, str] | None = None) -> Assignment:
    [assignment] = place([wish], of, current or {}).assignments
    return assignment


def per_host(plan: Plan) -> dict[str, int]:
    found: dict[str, int] = {}
    for host in plan.placed.values():
        found[host] = found.get(host, 0) + 1
    return found


def test_replicas_are_spread_over_hosts() -> None:
    assert per_host(place(replicas(6), hosts(3), {})) == {"h0": 2, "h1": 2, "h2": 2}


def test_replicas_are_spread_although_others_fill_a_host() -> None:
    others = {f"o-{index}": "h0" for index in range(3)}
    plan = place([*replicas(3, group="o"), *replicas(2)], hosts(2), others)
    assert {plan.placed["r-0"], plan.placed["r-1"]} == {"h0", "h1"}


def test_those_that_are_packed_fill_a_host_first() -> None:
    assert per_host(place(replicas(5, Place(spread=Spread.PACK)), hosts(3), {})) == {"h0": 4, "h1": 1}


def test_a_larger_host_takes_more() -> None:
    alone = [Wish(f"a{index}") for index in range(6)]
    assert per_host(place(alone, [Host("large", 8), Host("small", 4)], {})) == {"large": 4, "small": 2}


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (Place(slots=5), "h0, h1: no room (slots)"),
        (Place(cpus=2.5, memory=9 * GIB), "h0: no room (cpus, memory); h1: no room (cpus)"),
        (Place(gpus=1), "h0, h1: no room (gpus)"),
        (Place(labels=(("zone", "c"),)), "h0, h1: without label zone=c"),
        (Place(labels=(("zone", "b"),), slots=5), "h0: without label zone=b; h1: no room (slots)"),
        (Place(host="h7"), "there is no host h7"),
        (Place(host="h1", slots=5), "h1: no room (slots)"),
    ],
)
def test_what_fits_nowhere_is_pending_and_says_which_host_lacks_what(at: Place, reason: str) -> None:
    of = [
        Host("h0", 4, 2, 8 * GIB, labels=(("zone", "a"),)),
        Host("h1", 4, 2, 16 * GIB, labels=(("zone", "b"),)),
    ]
    assert one(Wish("a", at), of) == Assignment("a", Step.PENDING, None, None, reason)


def test_many_hosts_that_lack_the_same_are_counted() -> None:
    assert one(Wish("a", Place(slots=9)), hosts(20)).reason == "20 hosts: no room (slots)"
    assert one(Wish("a"), []).reason == "there are no hosts"


def test_labels_and_a_host_are_kept_to() -> None:
    of = [Host("h0", 4), Host("h1", 4, labels=(("disk", "ssd"), ("zone", "a")))]
    assert one(Wish("a", Place(labels=(("zone", "a"),))), of).host == "h1"
    assert one(Wish("a", Place(host="h1")), of).host == "h1"


def test_fractions_add_up_exactly() -> None:
    tenths = [Wish(f"a{index}", Place(cpus=0.1, gpus=0.1)) for index in range(10)]
    assert len(place(tenths, [Host("h0", 20, cpus=1, gpus=1)], {}).placed) == 10


def test_a_new_host_moves_nothing() -> None:
    before = place(replicas(8), hosts(2), {}).placed
    plan = place(replicas(8), hosts(3), before)
    assert (plan.placed, plan.changes) == (before, ())


def test_a_cordoned_host_keeps_what_it_has_and_takes_nothing() -> None:
    of = [Host("h0", 4, cordoned=True), Host("h1", 1)]
    plan = place(replicas(3), of, {"r-0": "h0"})
    assert plan.placed == {"r-0": "h0", "r-1": "h1"}
    assert plan.assignments[2].reason == "h0: cordoned; h1: no room (slots)"


def test_a_drained_host_is_left() -> None:
    of = [Host("h0", 4, draining=True), Host("h1", 4)]
    plan = place([Wish("a")], of, {"a": "h0"})
    assert plan.assignments == (Assignment("a", Step.MOVE, "h1", "h0", "h0 is drained"),)


def test_who_leaves_a_drained_host_for_nowhere_is_pending() -> None:
    found = one(Wish("a"), [Host("h0", 4, draining=True)], {"a": "h0"})
    assert (found.step, found.previous, found.reason) == (Step.PENDING, "h0", "h0: drained")


def test_agents_of_a_lost_host_are_launched_elsewhere_once_it_is_fenced() -> None:
    lost = Host("h0", 4, alive=False, fenced=False)
    found = one(Wish("a"), [lost, Host("h1", 4)], {"a": "h0"})
    assert found == Assignment("a", Step.WAIT, "h0", "h0", "h0 is lost, and the agent may still run there")
    found = one(Wish("a"), [replace(lost, fenced=True), Host("h1", 4)], {"a": "h0"})
    assert found == Assignment("a", Step.START, "h1", "h0", "h0 is lost")


@pytest.mark.parametrize("changed", [Place(host="h1"), Place(labels=(("zone", "b"),)), Place(slots=9)])
def test_whatever_is_wished_now_an_agent_that_may_still_run_runs_nowhere_else(changed: Place) -> None:
    of = [Host("h0", 4, alive=False, fenced=False), Host("h1", 9, labels=(("zone", "b"),))]
    assert one(Wish("a", changed), of, {"a": "h0"}).step is Step.WAIT


def test_an_agent_may_wait_for_its_host() -> None:
    of = [Host("h0", 4, alive=False), Host("h1", 4)]
    found = one(Wish("a", Place(on_host_loss=OnHostLoss.WAIT)), of, {"a": "h0"})
    assert found == Assignment("a", Step.WAIT, "h0", "h0", "h0 is lost, and on_host_loss is wait")


def test_who_waits_keeps_its_room() -> None:
    waiting = Wish("w", Place(slots=4, on_host_loss=OnHostLoss.WAIT))
    lost = place([waiting], [Host("h0", 4, alive=False)], {"w": "h0"}).placed
    back = place([waiting, Wish("a")], [Host("h0", 4)], lost)
    assert back.placed == {"w": "h0"}


def test_a_host_that_is_given_up_is_left() -> None:
    found = one(Wish("a", Place(on_host_loss=OnHostLoss.WAIT)), [Host("h1", 4)], {"a": "h0"})
    assert found == Assignment("a", Step.START, "h1", "h0", "h0 is gone")


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (Place(host="h1"), "h0 is not h1"),
        (Place(labels=(("zone", "b"),)), "h0 is without label zone=b"),
        (Place(slots=5), "h0 has no room"),
    ],
)
def test_a_change_of_what_it_needs_moves_an_agent(at: Place, reason: str) -> None:
    of = [Host("h0", 4), Host("h1", 8, labels=(("zone", "b"),))]
    assert one(Wish("a", at), of, {"a": "h0"}) == Assignment("a", Step.MOVE, "h1", "h0", reason)


def test_of_a_host_that_has_become_too_small_the_fewest_leave() -> None:
    wishes = [Wish("a", Place(slots=3)), Wish("b"), Wish("c")]
    plan = place(wishes, [Host("h0", 4), Host("h1", 4)], dict.fromkeys("abc", "h0"))
    assert plan.placed == {"a": "h1", "b": "h0", "c": "h0"}


def test_the_urgent_are_placed_first() -> None:
    plan = place([Wish("a"), Wish("b", priority=1)], [Host("h0", 1)], {})
    assert plan.placed == {"b": "h0"}


def test_the_large_are_placed_before_the_small() -> None:
    plan = place([*(Wish(f"a{index}") for index in range(4)), Wish("z", Place(slots=4))], hosts(2), {})
    assert len(plan.placed) == 5


def test_what_is_wished_for_no_more_is_removed() -> None:
    plan = place([], hosts(1), {"b": "h0", "a": "h0"})
    assert (plan.assignments, plan.removed) == ((), (("a", "h0"), ("b", "h0")))


def test_what_is_being_stopped_takes_its_room_until_then() -> None:
    plan = place([Wish("a")], [Host("h0", 1)], {}, [Leaving("h0"), Leaving("unknown")])
    assert plan.assignments[0].reason == "h0: no room (slots)"


def test_whoever_comes_first_by_name_stays_where_all_are_alike() -> None:
    wishes = [Wish("b"), Wish("a")]
    for told in (wishes, wishes[::-1]):
        assert place(told, [Host("h0", 1)], {"a": "h0", "b": "h0"}).placed == {"a": "h0"}


def test_no_move_is_offered_that_only_turns_things_round() -> None:
    wishes = replicas(5)
    current = {wish.name: "h0" if at < 3 else "h1" for at, wish in enumerate(wishes)}
    assert rebalance(wishes, hosts(2), current).changes == ()
