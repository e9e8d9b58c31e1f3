"""What a schedule asks for at a moment: functions of frozen values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agentd.model.capacity import Capacity, Claims, Queued
from agentd.model.order import After, Overlap, Schedule
from agentd.model.spec import ApplyWhen, Policy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.admission import Admission
from agentd.supervise.applying import SCHEDULE_PART
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life, StopReason
from agentd.supervise.life_changes import describe_change
from agentd.supervise.plan import Action, changed_parts, plan
from agentd.supervise.scheduling import (
    SET_BACK,
    SLACK,
    Decision,
    Seen,
    Standing,
    Verdict,
    advance,
    begin,
    scheduled,
    stamp,
    started_for,
)
from tests.supervise.lives import NO, WALL, declared, in_state
from tests.supervise.lives import at as moment

BERLIN = ZoneInfo("Europe/Berlin")
NINE = Schedule("0 9 * * *", "Europe/Berlin")
BUSY = (AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF)


def at(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


MONDAY = at("2026-11-30T08:00+01:00")
DUE = at("2026-11-30T09:00+01:00")
NEXT = at("2026-12-01T09:00+01:00")


def agent(
    schedule: Schedule = NINE, launch: str | None = "first", policy: Policy = NO, **fields: object
) -> DesiredAgent:
    plain = declared(policy, launch)
    return replace(plain, spec=replace(plain.spec, schedule=schedule, **fields))  # type: ignore[arg-type]


def life(state: AgentState, start: str | None = None) -> Life:
    known = in_state(state).life
    return known if start is None else replace(known, fingerprint={**(known.fingerprint or {}), SCHEDULE_PART: start})


def step(
    now: float, standing: Standing, there: Life | None = None, desired: DesiredAgent | None = None
) -> tuple[Standing, list[Verdict]]:
    standing, decisions = advance(desired or agent(), standing, Seen(now, BERLIN, there))
    return standing, [each.verdict for each in decisions]


FRESH = begin(NINE, MONDAY, BERLIN)


def test_what_is_declared_counts_from_then_on() -> None:
    assert advance(agent(), None, Seen(MONDAY, BERLIN, None)) == (FRESH, ())
    assert Standing("0 9 * * *", "Europe/Berlin", MONDAY, DUE) == FRESH
    given = scheduled(agent(), FRESH, None, BERLIN)
    assert given.queued is not None
    assert str(given.queued) == "queued: its schedule starts it next at 2026-11-30 09:00 CET (Europe/Berlin)"
    assert given.fingerprint == agent().fingerprint


def test_nothing_changes_until_it_is_time() -> None:
    standing, decisions = step(DUE - 0.001, FRESH)
    assert standing is FRESH
    assert decisions == []


@pytest.mark.parametrize("state", [None, AgentState.PENDING, AgentState.QUEUED, AgentState.EXITED, AgentState.FAILED])
def test_at_its_time_it_is_started(state: AgentState | None) -> None:
    there = None if state is None else life(state)
    standing, decisions = step(DUE, FRESH, there)
    assert (standing.since, standing.upcoming, standing.due, decisions) == (DUE, NEXT, DUE, [Verdict.DUE])
    given = scheduled(agent(), standing, there, BERLIN)
    assert given.queued is None
    (operation,) = plan([given.view], [] if there is None else [there.view])
    assert operation.action is Action.START
    assert operation.reason == "due by its schedule"
    # Once launched for it, it is as declared, also while it runs and after it has ended.
    for each in (*BUSY, AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT):
        launched = life(each, stamp(DUE))
        after, decisions = step(DUE + 1, standing, launched)
        # Until its process is there, the launch may come to nothing.
        assert (after.due, decisions) == (DUE if each is AgentState.STARTING else None, [])
        given = scheduled(agent(), after, launched, BERLIN)
        assert given.queued is None
        assert not changed_parts(launched.fingerprint, given.fingerprint)
        assert started_for(launched) == stamp(DUE)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_launch_that_agentd_did_not_live_to_see_is_made_again(by_hand: bool) -> None:
    standing = replace(FRESH, since=DUE, upcoming=NEXT, due=DUE, by_hand=by_hand)
    interrupted = life(AgentState.PENDING, stamp(DUE))
    after, decisions = step(DUE + 1, standing, interrupted)
    assert (after, decisions) == (standing, [])
    given = scheduled(agent(), after, interrupted, BERLIN)
    assert given.queued is None
    (operation,) = plan([given.view], [interrupted.view])
    assert operation.action is Action.START
    # Nor does it count as one that was not written down.
    never = replace(FRESH, since=DUE - 1, upcoming=DUE)
    assert step(DUE + 1, never, interrupted)[1] == [Verdict.DUE]


@pytest.mark.parametrize("state", BUSY)
def test_overlap_says_what_follows_while_it_runs(state: AgentState) -> None:
    there = life(state, stamp(DUE - 86400))
    for overlap in Overlap:
        desired = agent(replace(NINE, overlap=overlap))
        standing, decisions = step(DUE, FRESH, there, desired)
        given = scheduled(desired, standing, there, BERLIN)
        differs = changed_parts(there.fingerprint, given.fingerprint)
        assert given.queued is None
        assert decisions == [Verdict.SKIPPED if overlap is Overlap.SKIP else Verdict.DUE]
        assert standing.due == (None if overlap is Overlap.SKIP else DUE)
        assert differs == ((SCHEDULE_PART,) if overlap is Overlap.STOP else ())
        if overlap is Overlap.QUEUE:
            ended = life(AgentState.EXITED, stamp(DUE - 86400))
            assert scheduled(desired, standing, ended, BERLIN).fingerprint == {"argv": "first", "schedule": stamp(DUE)}
            # Of several that wait, one is made: the last.
            again, decisions = step(NEXT, standing, there, desired)
            assert (again.due, decisions) == (NEXT, [Verdict.DUE])


def test_a_stop_by_its_schedule_waits_for_nobody() -> None:
    there = life(AgentState.RUNNING, stamp(DUE - 86400))
    desired = agent(replace(NINE, overlap=Overlap.STOP), policy=Policy(apply=ApplyWhen.ASK))
    there = replace(there, policy=desired.spec.policy)
    standing, _ = step(DUE, FRESH, there, desired)
    (operation,) = plan([scheduled(desired, standing, there, BERLIN).view], [there.view])
    assert (operation.action, operation.reason, operation.waits) == (Action.RESTART, "due by its schedule", ())


def test_one_that_waits_for_a_slot_has_the_next_one_skipped() -> None:
    waiting = life(AgentState.QUEUED)
    standing, _ = step(DUE, FRESH, waiting)
    again, decisions = advance(agent(), standing, Seen(NEXT, BERLIN, waiting))
    assert decisions == (Decision(Verdict.SKIPPED, NEXT, f"the start of {stamp(DUE)} still waits"),)
    assert again.due == DUE
    admission = Admission(capacity=Capacity(running=1))
    desired = {"a": replace(scheduled(agent(), again, waiting, BERLIN), claims=Claims("custom"))}
    busy = replace(life(AgentState.RUNNING), name="b", claims=Claims("custom"))
    queued = admission.admit(desired, {"a": waiting, "b": busy}, NEXT)["a"].queued
    assert queued is not None
    assert queued.place == 1
    # Who waits for the time has no place, whatever slots there are.
    resting = {"a": replace(scheduled(agent(), FRESH, waiting, BERLIN), claims=Claims("custom"))}
    for running in (1, 2):
        admission.capacity = Capacity(running=running)
        assert admission.admit(resting, {"a": waiting, "b": busy}, NEXT)["a"] is resting["a"]


@pytest.mark.parametrize(
    ("late", "catch_up", "verdict"),
    [
        (59, 60, Verdict.DUE),
        (61, 60, Verdict.MISSED),
        (SLACK, 0, Verdict.DUE),
        (SLACK + 1, 0, Verdict.MISSED),
        (3600, 86400, Verdict.DUE),
        (40 * 86400, 86400, Verdict.DUE),
    ],
)
def test_a_start_that_was_missed_is_made_if_it_is_not_too_late(late: float, catch_up: float, verdict: Verdict) -> None:
    """Of many, the last counts."""
    desired = agent(replace(NINE, catch_up=catch_up))
    standing, decisions = advance(desired, FRESH, Seen(DUE + late, BERLIN, None))
    (decision,) = decisions
    assert decision.verdict is verdict
    assert decision.due == (DUE if late < 86400 else DUE + 40 * 86400)
    assert standing.since == decision.due
    assert standing.due == (decision.due if verdict is Verdict.DUE else None)
    assert standing.upcoming is not None
    assert standing.upcoming > DUE + late


def test_what_cannot_be_launched_says_why() -> None:
    broken = agent(launch=None)
    assert scheduled(broken, FRESH, None, BERLIN) is broken
    standing, decisions = advance(broken, FRESH, Seen(DUE, BERLIN, None))
    assert decisions == (Decision(Verdict.SKIPPED, DUE, "the prompt file is missing"),)
    assert standing.due is None


def test_an_edit_waits_for_the_next_start_and_a_start_by_hand_does_not() -> None:
    ended, launch = life(AgentState.EXITED, stamp(DUE)), agent(launch="second")
    standing = replace(FRESH, since=DUE, upcoming=NEXT)
    given = scheduled(launch, standing, ended, BERLIN)
    (operation,) = plan([given.view], [ended.view])
    assert operation.waits == ("queued: its schedule starts it next at 2026-12-01 09:00 CET (Europe/Berlin)",)
    by_hand = agent(restarted_at="now")
    by_hand = replace(by_hand, fingerprint={"argv": "first", "restarted_at": "now"})
    for there in (None, life(AgentState.QUEUED), ended):
        after, decisions = step(DUE + 60, standing, there, by_hand)
        assert (after.due, after.by_hand, after.upcoming, decisions) == (DUE + 60, True, NEXT, [])
        given = scheduled(by_hand, after, there, BERLIN)
        assert given.queued is None
        launched = replace(life(AgentState.RUNNING), fingerprint=given.fingerprint)
        assert step(DUE + 61, after, launched, by_hand) == (replace(after, due=None, by_hand=False), [])
    # A run under way is restarted as any other's is.
    after, _ = step(DUE + 60, standing, life(AgentState.RUNNING), by_hand)
    assert (after.due, after.restarted_at) == (None, "now")


def test_another_schedule_counts_from_then_on() -> None:
    ten = agent(Schedule("0 10 * * *", "Europe/Berlin"))
    standing, decisions = step(DUE + 7200, FRESH, None, ten)
    assert decisions == []
    assert standing == begin(ten.spec.schedule or NINE, DUE + 7200, BERLIN)
    utc = agent(Schedule("0 9 * * *", "UTC"))
    standing, _ = advance(utc, FRESH, Seen(MONDAY, UTC, None))
    assert standing.upcoming == at("2026-11-30T09:00+00:00")


def test_a_clock_that_is_set_back_makes_no_start_again() -> None:
    started = replace(FRESH, since=DUE, upcoming=NEXT)
    assert step(DUE - 600, started) == (started, [])
    assert step(DUE - 600, started, life(AgentState.EXITED, stamp(DUE))) == (started, [])
    # One that was wrong by more counts anew.
    now = DUE - SET_BACK - 1
    assert step(now, started, life(AgentState.EXITED, stamp(DUE))) == (begin(NINE, now, BERLIN), [])


def test_a_start_that_a_former_daemon_did_not_write_down_is_not_made_again() -> None:
    standing, decisions = step(DUE + 2, FRESH, life(AgentState.RUNNING, stamp(DUE)))
    assert (standing.since, standing.upcoming, standing.due, decisions) == (DUE, NEXT, None, [])


def test_one_that_is_declared_again_while_it_is_removed_waits() -> None:
    leaving = life(AgentState.STOPPING, stamp(DUE))
    assert leaving.stop is not None
    leaving = replace(leaving, stop=replace(leaving.stop, reason=StopReason.REMOVED))
    assert scheduled(agent(), FRESH, leaving, BERLIN).queued is not None


def test_what_waits_for_its_time_does_not_say_what_else_it_waits_for() -> None:
    desired = scheduled(agent(after=(After("b"),)), FRESH, None, BERLIN)
    assert Admission().admit({"a": desired}, {}, MONDAY)["a"] is desired
    due = scheduled(desired, replace(FRESH, due=DUE), None, BERLIN)
    queued = Admission().admit({"a": replace(due, queued=None)}, {}, DUE)["a"].queued
    assert queued is not None
    assert queued.reason == "b is not declared"


def test_the_time_until_a_start_is_not_time_in_the_queue() -> None:
    resting, _ = lives.define(Life("a"), scheduled(agent(), FRESH, None, BERLIN), moment(0))
    due = scheduled(agent(), replace(FRESH, due=DUE), resting, BERLIN)
    launched, _ = lives.define(resting, due, moment(DUE))
    (event,) = describe_change(resting, launched, DUE).events
    assert event.data["was"] == "queued"
    assert "queued_seconds" not in event.data
    # In the queue for a slot it is.
    queued, _ = lives.define(Life("a"), replace(due, queued=Queued(1, "no slot", MONDAY)), moment(0))
    launched, _ = lives.define(queued, due, moment(DUE))
    (event,) = describe_change(queued, launched, DUE).events
    assert event.data["queued_seconds"] == WALL + DUE - MONDAY


def test_a_run_goes_on_without_its_schedule() -> None:
    plain = declared()
    assert changed_parts({"argv": "first", SCHEDULE_PART: stamp(DUE)}, plain.fingerprint) == ()
    assert scheduled(agent(enabled=False), FRESH, None, BERLIN).queued is None
