"""Who waits for a slot, in which place and why: a function of frozen values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.model.capacity import Capacity, Claims, SlotPool
from agentd.supervise.queueing import Candidate, Holder, queue, slots_of

GIB = 1024**3
PLAIN = Claims("codex")


def candidate(name: str, claims: Claims = PLAIN, **fields: object) -> Candidate:
    values: dict[str, object] = {"memory": None, "priority": 0, "since": 0.0, "order": ord(name[0]), **fields}
    return Candidate(name, claims=claims, **values)  # type: ignore[arg-type]  # as written in these tests


def holder(name: str, claims: Claims = PLAIN, memory: int | None = None) -> Holder:
    return Holder(name, memory, (claims,))


def places(capacity: Capacity, candidates: list[Candidate], *holders: Holder) -> dict[str, str]:
    return {name: f"{each.place}: {each.reason}" for name, each in queue(candidates, holders, capacity).items()}


def test_as_many_run_as_may() -> None:
    capacity = Capacity(running=2)
    assert places(capacity, [candidate("b"), candidate("c")]) == {}
    taken = "all 2 of [limits] running are taken"
    assert places(capacity, [candidate("c"), candidate("b")], holder("a")) == {"c": f"1: {taken}"}
    assert places(Capacity(), [candidate("b")], holder("a")) == {}


def test_priority_comes_first_then_who_came_first_then_the_order_of_the_files() -> None:
    those = [candidate("a", since=2.0), candidate("b"), candidate("c"), candidate("d", since=9.0, priority=1)]
    assert list(places(Capacity(running=1), those, holder("x"))) == ["d", "b", "c", "a"]


def test_memory_is_what_is_declared() -> None:
    capacity = Capacity(memory=4 * GIB)
    found = places(
        capacity,
        [candidate("a", memory=2 * GIB), candidate("b", memory=GIB), candidate("c"), candidate("d", memory=8 * GIB)],
        holder("x", memory=3 * GIB),
    )
    assert found == {
        "a": "1: it wants 2GiB, and 3GiB of 4GiB of [limits] memory are taken",
        # It would fit, but a could then wait for ever.
        "b": "2: a is before it for [limits] memory",
        "d": "3: it wants 8GiB, and 3GiB of 4GiB of [limits] memory are taken: it never fits",
    }


def test_who_never_fits_keeps_nobody_waiting() -> None:
    those = [candidate("a", memory=8 * GIB), candidate("b", memory=GIB)]
    assert list(places(Capacity(memory=4 * GIB), those)) == ["a"]


def test_a_pool_is_for_a_repository_an_account_or_names() -> None:
    pool = SlotPool("shop", 1, repository="/shop")
    inside, elsewhere = Claims("codex", "/shop"), Claims("codex", "/blog")
    found = places(Capacity(pools=(pool,)), [candidate("a", inside), candidate("b", elsewhere)], holder("x", inside))
    assert found == {"a": '1: all 1 slots of the pool "shop" are taken, by x'}
    each = Capacity(pools=(SlotPool("accounts", 1, account="*"),))
    found = places(each, [candidate("a"), candidate("b", Claims("claude-code"))], holder("x"))
    assert found == {"a": '1: all 1 slots of the pool "accounts" of codex are taken, by x'}
    named = Capacity(pools=(SlotPool("gpu", 1, agents=("train-*",)),))
    found = places(named, [candidate("Train-1"), candidate("other")], holder("train-0"))
    assert found == {"Train-1": '1: all 1 slots of the pool "gpu" are taken, by train-0'}
    both = SlotPool("both", 1, repository="/shop", account="codex")
    assert list(slots_of("a", inside, Capacity(pools=(both,)))) == [(("pool", "both", "", ""), both)]
    assert list(slots_of("a", PLAIN, Capacity(pools=(both,)))) == []


def test_two_never_write_to_one_repository_itself() -> None:
    writer, beside = Claims("codex", "/shop", writes=True), Claims("codex", "/shop")
    those = [candidate("a", writer), candidate("b", beside), candidate("c", writer)]
    assert places(Capacity(), those) == {"c": "1: a writes to /shop itself, as it would"}
    assert places(Capacity(one_writer=False), those) == {}


def test_an_agent_that_is_launched_anew_as_something_else_keeps_its_place() -> None:
    before, after = Claims("codex", "/a", writes=True), Claims("codex", "/b", writes=True)
    there = holder("x", before)
    moved = candidate("x", after, holds=there)
    assert places(Capacity(running=1), [moved], there) == {}
    # Until it has moved it has both.
    assert list(places(Capacity(), [moved, candidate("y", before), candidate("z", after)], there)) == ["y", "z"]
    other = holder("z", after)
    assert places(Capacity(running=2), [moved], there, other) == {"x": "1: z writes to /b itself, as it would"}


claims = st.builds(Claims, st.sampled_from(["codex", "claude"]), st.sampled_from([None, "/a", "/b"]), st.booleans())
capacities = st.builds(
    Capacity,
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 4]),
    st.booleans(),
    st.sampled_from([(), (SlotPool("p", 1, "*"), SlotPool("q", 2, None, "codex"))]),
)
agents = st.lists(st.tuples(claims, st.sampled_from([None, 1, 3, 9]), st.integers(-1, 1)), max_size=8)


@given(capacities, agents, st.integers(0, 8))
def test_nothing_is_ever_given_twice(
    capacity: Capacity, those: list[tuple[Claims, int | None, int]], running: int
) -> None:
    """However many there are, those that run and those that are launched are within what was free."""
    holders = [Holder(f"h{at}", memory, (taken,)) for at, (taken, memory, _) in enumerate(those[:running])]
    candidates = [
        Candidate(f"c{at}", memory, wanted, priority, 0.0, at)
        for at, (wanted, memory, priority) in enumerate(those[running:])
    ]
    waiting = queue(candidates, holders, capacity)
    assert sorted(each.place or 0 for each in waiting.values()) == list(range(1, len(waiting) + 1))
    launched = [each for each in candidates if each.name not in waiting]
    if not launched:
        return
    everybody = [(each.name, each.claims[0]) for each in holders] + [(each.name, each.claims) for each in launched]
    if capacity.running is not None:
        assert len(everybody) <= capacity.running
    if capacity.memory is not None and any(each.memory for each in launched):
        wanted = [each.memory for each in holders] + [each.memory for each in launched]
        assert sum(each or 0 for each in wanted) <= capacity.memory
    for one in launched:
        for slot, pool in slots_of(one.name, one.claims, capacity):
            have = [name for name, taken in everybody if slot in dict(slots_of(name, taken, capacity))]
            assert len(have) <= (1 if pool is None else pool.slots)
