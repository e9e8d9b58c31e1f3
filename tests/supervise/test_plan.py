from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.capacity import Queued
from agentd.model.spec import ApplyWhen, Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise.applying import ASKS, NOT_SEEN
from agentd.supervise.plan import (
    Action,
    DesiredView,
    Fingerprint,
    ObservedView,
    Operation,
    changed_parts,
    changed_policy,
    plan,
)
from tests.supervise.lives import ALWAYS, NO

NOT_YET = (AgentState.PENDING, AgentState.QUEUED, AgentState.DISABLED)
ENDED_OR_ALIVE = [state for state in AgentState if state not in NOT_YET]
OLD: Fingerprint = {"argv": "1", "env": "1"}


def wanted(
    name: str = "a", *, enabled: bool = True, policy: Policy = NO, fingerprint: Fingerprint | None = OLD
) -> DesiredView:
    return DesiredView(name, enabled, policy, fingerprint)


def seen(
    state: AgentState = AgentState.RUNNING,
    name: str = "a",
    *,
    policy: Policy | None = NO,
    fingerprint: Fingerprint | None = OLD,
    leaving: bool = False,
) -> ObservedView:
    return ObservedView(name, state, policy, fingerprint, session_open=True, leaving=leaving)


def test_nothing_declared_and_nothing_there_is_nothing_to_do() -> None:
    assert plan([], []) == ()


def test_a_declared_agent_that_is_not_there_is_started() -> None:
    assert plan([wanted()], []) == (Operation(Action.START, "a", "declared and not launched yet"),)


def test_a_declared_agent_that_was_never_launched_is_started() -> None:
    operations = plan([wanted()], [seen(AgentState.PENDING, fingerprint=None)])
    assert operations == (Operation(Action.START, "a", "declared and not launched yet"),)


def test_an_agent_enabled_again_is_started() -> None:
    assert plan([wanted()], [seen(AgentState.DISABLED)]) == (Operation(Action.START, "a", "enabled"),)


@pytest.mark.parametrize("state", AgentState)
def test_an_agent_no_longer_declared_is_stopped_in_every_state(state: AgentState) -> None:
    assert plan([], [seen(state)]) == (Operation(Action.STOP, "a", "no longer declared"),)


@pytest.mark.parametrize("state", [state for state in AgentState if state is not AgentState.DISABLED])
def test_a_disabled_agent_is_stopped_in_every_state(state: AgentState) -> None:
    assert plan([wanted(enabled=False)], [seen(state)]) == (Operation(Action.STOP, "a", "disabled"),)


@pytest.mark.parametrize("observed", [[], [seen(AgentState.DISABLED)]])
def test_a_disabled_agent_that_does_not_run_needs_nothing(observed: list[ObservedView]) -> None:
    assert plan([wanted(enabled=False, policy=ALWAYS, fingerprint={"argv": "2"})], observed) == ()


@pytest.mark.parametrize("state", ENDED_OR_ALIVE)
def test_an_agent_as_declared_needs_nothing_even_if_it_ended(state: AgentState) -> None:
    assert plan([wanted()], [seen(state)]) == ()


@pytest.mark.parametrize("state", ENDED_OR_ALIVE)
def test_another_launch_restarts_and_names_the_parts_that_differ(state: AgentState) -> None:
    operations = plan([wanted(fingerprint={"argv": "2", "env": "1", "added": "1"})], [seen(state)])
    assert operations == (Operation(Action.RESTART, "a", "changed: added, argv", ("added", "argv")),)


@pytest.mark.parametrize("state", ENDED_OR_ALIVE)
def test_another_policy_alone_is_a_change_in_place_that_names_the_fields(state: AgentState) -> None:
    policy = replace(NO, restart=RestartPolicy.ALWAYS, timeout=5.0)
    assert plan([wanted(policy=policy)], [seen(state)]) == (
        Operation(Action.CHANGE, "a", "changed: restart, timeout", ("restart", "timeout")),
    )


def test_another_launch_with_another_policy_is_one_restart() -> None:
    operations = plan([wanted(policy=ALWAYS, fingerprint={"argv": "2", "env": "1"})], [seen()])
    assert operations == (Operation(Action.RESTART, "a", "changed: argv", ("argv",)),)


def test_a_launch_that_cannot_be_known_is_no_reason_to_touch_what_runs() -> None:
    assert plan([wanted(fingerprint=None)], [seen()]) == ()


def test_a_launch_that_cannot_be_known_does_not_hide_a_change_of_policy() -> None:
    assert [o.action for o in plan([wanted(policy=ALWAYS, fingerprint=None)], [seen()])] == [Action.CHANGE]


def test_a_launch_that_was_not_known_and_now_is_restarts() -> None:
    operations = plan([wanted()], [seen(AgentState.FAILED, fingerprint=None)])
    assert operations == (Operation(Action.RESTART, "a", "changed: argv, env", ("argv", "env")),)


def test_an_agent_declared_again_while_it_leaves_is_restarted() -> None:
    operations = plan([wanted()], [seen(AgentState.STOPPING, leaving=True)])
    assert operations == (Operation(Action.RESTART, "a", "declared again while it was being stopped"),)


def test_a_policy_that_is_not_known_is_no_change() -> None:
    assert plan([wanted(policy=ALWAYS)], [seen(policy=None)]) == ()


@pytest.mark.parametrize("name", [field.name for field in fields(Policy)])
def test_every_field_of_the_policy_counts(name: str) -> None:
    others: dict[str, object] = {"restart": RestartPolicy.ALWAYS, "success_exit_codes": (0, 3)}
    changed = Policy(**{name: others.get(name, 77)})  # type: ignore[arg-type]
    assert changed_policy(Policy(), changed) == (name,)
    assert changed_policy(changed, changed) == ()


def test_names_are_compared_as_they_are_written() -> None:
    operations = plan([wanted("B"), wanted("c"), wanted("a")], [seen(name="b")])
    assert [(o.agent, o.action) for o in operations] == [
        ("B", Action.START),
        ("a", Action.START),
        ("b", Action.STOP),
        ("c", Action.START),
    ]


# -- properties

names = st.sampled_from("abcdef")
digests = st.sampled_from("12")
fingerprints = st.one_of(
    st.none(), st.fixed_dictionaries({"argv": digests, "env": digests}, optional={"extra": digests})
)
policies = st.sampled_from([NO, ALWAYS, Policy(timeout=9.0), Policy(grace_period=1.0, max_restarts=2)])
desired_views = st.builds(DesiredView, names, st.booleans(), policies, fingerprints)
observed_views = st.builds(
    ObservedView,
    names,
    st.sampled_from(AgentState),
    st.one_of(st.none(), policies),
    fingerprints,
    session_open=st.booleans(),
    leaving=st.booleans(),
)
desired_states = st.lists(desired_views, unique_by=lambda view: view.name)
observed_states = st.lists(observed_views, unique_by=lambda view: view.name)


def apply(operation: Operation, desired: DesiredView | None, observed: ObservedView | None) -> ObservedView | None:
    """Carry an operation out in a world where everything succeeds at once."""
    match operation.action:
        case Action.STOP:
            assert observed is not None
            return None if desired is None else replace(observed, state=AgentState.DISABLED, leaving=False)
        case Action.START | Action.RESTART:
            assert desired is not None
            return ObservedView(
                desired.name, AgentState.RUNNING, desired.policy, desired.fingerprint, session_open=True
            )
        case Action.CHANGE:
            assert desired is not None
            assert observed is not None
            return replace(observed, policy=desired.policy)


@given(desired_states, observed_states)
def test_one_pass_converges(desired: list[DesiredView], observed: list[ObservedView]) -> None:
    world = {view.name: view for view in observed}
    declared = {view.name: view for view in desired}
    for operation in plan(desired, observed):
        after = apply(operation, declared.get(operation.agent), world.pop(operation.agent, None))
        if after is not None:
            world[operation.agent] = after
    assert plan(desired, world.values()) == ()
    alive = {name for name, view in world.items() if view.state is not AgentState.DISABLED}
    assert alive == {name for name, view in declared.items() if view.enabled}


@given(desired_states, observed_states)
def test_operations_are_sorted_one_for_an_agent_and_each_has_a_reason(
    desired: list[DesiredView], observed: list[ObservedView]
) -> None:
    operations = plan(desired, observed)
    agents = [operation.agent for operation in operations]
    assert agents == sorted(set(agents))
    assert all(operation.reason for operation in operations)
    for operation in operations:
        assert set(operation.fields) <= {"argv", "env", "extra", *(field.name for field in fields(Policy))}
        assert operation.action is not Action.CHANGE or operation.fields


@given(desired_states, observed_states)
def test_the_order_of_what_is_given_does_not_matter(desired: list[DesiredView], observed: list[ObservedView]) -> None:
    operations = plan(desired, observed)
    assert plan(list(reversed(desired)), list(reversed(observed))) == operations
    assert plan(desired, observed) == operations


@given(desired_states, observed_states)
def test_each_agent_is_planned_by_itself(desired: list[DesiredView], observed: list[ObservedView]) -> None:
    agents = {view.name for view in desired} | {view.name for view in observed}
    alone = [
        operation
        for name in sorted(agents)
        for operation in plan(
            [view for view in desired if view.name == name], [view for view in observed if view.name == name]
        )
    ]
    assert list(plan(desired, observed)) == alone


@given(desired_states, observed_states)
def test_no_operation_touches_an_agent_that_is_as_declared(
    desired: list[DesiredView], observed: list[ObservedView]
) -> None:
    declared = {view.name: view for view in desired}
    touched = {operation.agent for operation in plan(desired, observed)}
    not_yet = (AgentState.PENDING, AgentState.QUEUED, AgentState.DISABLED)
    for view in observed:
        wish = declared.get(view.name)
        if wish is None or not wish.enabled or view.state in not_yet or view.leaving:
            continue
        same_launch = wish.fingerprint is None or wish.fingerprint == view.fingerprint
        same_policy = view.policy in (None, wish.policy)
        assert (view.name not in touched) == (same_launch and same_policy)


@given(fingerprints, fingerprints)
def test_changed_parts_are_sorted_and_exactly_those_that_differ(
    old: Fingerprint | None, new: Fingerprint | None
) -> None:
    if new is None:
        return
    parts = changed_parts(old, new)
    assert list(parts) == sorted(parts)
    merged = {**(old or {}), **{part: new[part] for part in parts if part in new}}
    assert {part: digest for part, digest in merged.items() if part in new} == new
    assert (not parts) == ((old or {}) == new)


def waiting(policy: Policy, **more: object) -> tuple[str, ...]:
    """What a changed launch of a running agent with this policy waits for."""
    now = float(more.pop("now", 0.0))  # type: ignore[arg-type]
    view = replace(seen(policy=policy), **more)  # type: ignore[arg-type]
    (operation,) = plan([wanted(policy=policy, fingerprint={"argv": "2", "env": "1"})], [view], now)
    assert (operation.action, operation.reason) == (Action.RESTART, "changed: argv")
    return operation.waits


IDLE = Policy(apply=ApplyWhen.IDLE, apply_deadline=60.0)


@pytest.mark.parametrize(
    ("policy", "more", "waits"),
    [
        (NO, {"use": ("working",)}, ()),
        (IDLE, {"use": ("working", "attached")}, ("working", "attached")),
        (IDLE, {"use": ()}, ()),
        (IDLE, {}, (NOT_SEEN,)),
        (IDLE, {"use": ("working",), "held_since": 10.0, "now": 69.9}, ("working",)),
        (IDLE, {"use": ("working",), "held_since": 10.0, "now": 70.0}, ()),
        (Policy(apply=ApplyWhen.ASK), {"use": ()}, (ASKS,)),
        (IDLE, {"use": ("working",), "state": AgentState.BACKOFF}, ()),
        (IDLE, {"use": ("working",), "state": AgentState.STARTING}, ()),
    ],
)
def test_a_restart_of_a_running_agent_waits_as_its_policy_says(
    policy: Policy, more: dict[str, object], waits: tuple[str, ...]
) -> None:
    assert waiting(policy, **more) == waits


def test_who_asks_for_a_restart_or_says_that_a_change_may_be_applied_is_not_kept_waiting() -> None:
    used = replace(seen(policy=IDLE), use=("working",))
    (restart,) = plan([wanted(policy=IDLE, fingerprint={**OLD, "restarted_at": "2"})], [used])
    (said,) = plan([wanted(policy=replace(IDLE, applied_at="now"), fingerprint={"argv": "2", "env": "1"})], [used])
    assert (restart.waits, said.waits) == ((), ())


def test_who_waits_for_a_slot_is_started_with_the_reason() -> None:
    place = Queued(2, "all 2 of [limits] running are taken", 0.0)
    waiting = replace(wanted(), queued=place)
    says = ("queued, place 2: all 2 of [limits] running are taken",)
    for state in (*NOT_YET, None):
        (operation,) = plan([waiting], [] if state is None else [seen(state)])
        assert (operation.action, operation.waits) == (Action.START, says)
    (operation,) = plan([replace(waiting, fingerprint={"argv": "2"})], [seen(AgentState.EXITED)])
    assert (operation.action, operation.waits) == (Action.RESTART, says)
    assert plan([wanted()], [seen(AgentState.QUEUED)]) == (Operation(Action.START, "a", "there is a slot for it"),)
