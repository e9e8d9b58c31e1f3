"""Which ports agents get: no two the same, none that is taken, and always the same ones."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from agentd.supervise.ports import FIRST, LAST, MOST_REMEMBERED, Ports, assign, candidates

variables = st.lists(st.sampled_from(["PORT", "DB_PORT", "WEB"]), unique=True, min_size=1, max_size=3)
wishes = st.dictionaries(st.sampled_from([f"a-{number}" for number in range(6)]), variables)
busy = st.sets(st.integers(FIRST, LAST), max_size=4)


def given_by(wanted: Mapping[str, list[str]], held: Ports, taken: set[int] | None = None) -> Ports:
    return assign(wanted, held, "here", lambda port: port not in (taken or ()))


@given(wishes, wishes, busy)
def test_each_variable_has_a_port_that_stays_and_is_nobody_elses(
    first: dict[str, list[str]], second: dict[str, list[str]], taken: set[int]
) -> None:
    held = given_by(first, {})
    now = given_by(second, held, taken)
    ports = [port for each in now.values() for port in each.values()]
    assert len(ports) == len(set(ports))
    assert all(FIRST <= port <= LAST for port in ports)
    for agent, wanted in second.items():
        assert list(now[agent]) == wanted
        for variable in wanted:
            before = held.get(agent, {}).get(variable)
            assert now[agent][variable] == before or (before is None and now[agent][variable] not in taken)
    # Who is declared again has the same ones.
    assert all(now[agent] == held[agent] for agent in held.keys() - second.keys())
    assert given_by(second, now, taken) == now


def test_the_ports_are_the_same_without_a_memory_and_others_elsewhere() -> None:
    assert given_by({"a": ["PORT"]}, {}) == given_by({"a": ["PORT"]}, {})
    assert next(candidates("here", "a", "PORT")) != next(candidates("there", "a", "PORT"))
    assert sorted(candidates("here", "a", "PORT")) == [*range(FIRST, LAST + 1)]


def test_where_none_is_left_the_ports_of_agents_that_are_gone_are_given_away() -> None:
    free = {FIRST, FIRST + 1}

    def of(wanted: dict[str, list[str]], held: Ports) -> Ports:
        return assign(wanted, held, "here", free.__contains__)

    gone = of({"a": ["PORT"], "b": ["PORT"]}, {})
    assert of({"b": ["PORT"], "c": ["PORT"]}, gone) == {"b": gone["b"], "c": gone["a"]}
    full = of({"a": ["PORT"], "b": ["PORT"], "c": ["PORT"]}, gone)
    assert full == {**gone, "c": {}}


def test_no_more_agents_that_are_gone_are_remembered_than_a_few_thousand() -> None:
    held = {f"w{number}": {"PORT": FIRST + number} for number in range(MOST_REMEMBERED + 10)}
    kept = given_by({"w0": ["PORT"]}, held)
    assert len(kept) == MOST_REMEMBERED + 1
    assert {"w0", "w11"} <= kept.keys()
    assert "w1" not in kept
