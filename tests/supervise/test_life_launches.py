from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.capacity import Capacity, Claims
from agentd.model.spec import AgentType
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.admission import Admission
from agentd.supervise.life import CloseSession, KillRun, LaunchRun, ReapRun, ReportStopped, StopReason, TypeKey
from agentd.supervise.record import Description, Record
from agentd.supervise.steps import START_LIMIT
from tests.supervise.lives import ALWAYS, NO, SUCCESS, Story, at, declared, running


def test_the_first_launch_has_nothing_to_end() -> None:
    story = Story().define(0)
    assert story.effects == (LaunchRun("run-0"),)
    assert story.state is AgentState.STARTING


def test_an_agent_runs_once_its_process_exists() -> None:
    story = Story().define(0).opened(1)
    assert story.state is AgentState.STARTING
    assert story.life.session_open
    assert story.started(2).state is AgentState.RUNNING


def test_a_process_seen_before_its_pane_is_reported_runs_all_the_same() -> None:
    story = Story().define(0).started(1)
    assert story.state is AgentState.RUNNING
    assert story.life.session_open
    story = story.opened(2)
    assert story.state is AgentState.RUNNING
    assert story.life.run is not None
    assert (story.life.run.launched, story.life.run.started) == (2, 1)


def test_a_launch_waiting_for_its_turn_has_no_time_limit() -> None:
    assert lives.wake_at(Story().define(0).life) is None
    assert Story().define(0).tick(1e6).state is AgentState.STARTING


def test_a_launch_whose_process_does_not_appear_in_time_has_failed() -> None:
    story = Story().define(0, ALWAYS).opened(10)
    assert story.tick(10 + START_LIMIT - 0.1).state is AgentState.STARTING
    assert story.wait() == 10 + START_LIMIT
    assert story.state is AgentState.BACKOFF
    assert story.effects == (ReapRun(), CloseSession())
    assert not story.life.session_open
    assert story.life.error == "did not start within 1m"
    now, effects = story.wake()
    assert effects == (ReapRun(), LaunchRun(f"run-{now:g}"))


def test_a_launch_given_up_keeps_its_slot_until_its_process_is_gone() -> None:
    life = replace(Story().define(0, NO).opened(10).life, claims=Claims("codex"))
    admission = Admission(capacity=Capacity(running=1))
    waiting = declared(NO)
    desired = {"b": replace(waiting, spec=replace(waiting.spec, name="b"), claims=Claims("codex"))}
    closed = lives.session_lost(life, "closed", at(11))[0]
    for given_up, effects in (
        lives.tick(life, at(10 + START_LIMIT)),
        lives.launch_failed(closed, "run-0", "its tmux session was closed", at(11)),
    ):
        assert (given_up.state, effects[0], effects[-1]) == (AgentState.STARTING, ReapRun(), ReportStopped())
        assert admission.admit(desired, {"a": given_up}, 71.0)["b"].queued is not None, "its processes may live"
        kept = Record.of(given_up, Description("codex", AgentType.NATIVE, "a", "/"))
        assert kept.run is not None
        assert (kept.state, kept.run.ended) == (AgentState.STARTING, None), "a later daemon looks again"
        assert lives.wake_at(given_up) is None
        # Whoever declares it anew meanwhile has it launched once that is done.
        again, done = lives.define(given_up, declared(NO, "second"), at(72))
        assert (again.state, done) == (AgentState.STARTING, ())
        assert lives.stopped(again, at(73))[0].run != given_up.run
        assert lives.launch_interrupted(given_up, at(72)) is given_up
        gone = lives.stopped(given_up, at(73))[0]
        assert gone.state is AgentState.FAILED
        assert admission.admit(desired, {"a": gone}, 74.0)["b"].queued is None


def test_a_pane_told_twice_does_not_lengthen_the_time_to_start() -> None:
    story = Story().define(0).opened(10).opened(20)
    assert lives.wake_at(story.life) == 10 + START_LIMIT


def test_a_process_that_appears_after_its_launch_failed_is_not_taken_for_running() -> None:
    story = Story().define(0).opened(0).tick(START_LIMIT)
    before = story.life
    assert story.started(START_LIMIT + 1).life == before
    assert story.exited(START_LIMIT + 2, SUCCESS).life == before


@pytest.mark.parametrize("reason", [StopReason.REMOVED, StopReason.DISABLED])
def test_a_pane_reported_when_nobody_wants_it_any_more_is_closed(reason: StopReason) -> None:
    story = Story().define(0).failed(1, "cannot enter the workdir")
    life, effects = lives.withdraw(story.life, reason, at(2))
    assert effects == (ReapRun(), ReportStopped())
    life, _ = lives.launch_opened(life, story.run_id, at(3))
    life, effects = lives.stopped(life, at(4))
    assert effects == (CloseSession(), ReportStopped())
    assert not life.session_open


def test_a_pane_reported_when_the_next_launch_is_waiting_already_is_used_by_it() -> None:
    story = Story().define(0, replace(ALWAYS, restart_delay=0)).failed(1)
    first = story.run_id
    story = story.tick(1)
    assert story.state is AgentState.STARTING
    assert story.run_id != first
    life, _ = lives.launch_opened(story.life, first, at(2))
    assert life.session_open
    assert life.run is not None
    assert life.run.launched is None


def test_a_pane_reported_after_its_launch_failed_is_used_by_the_next_one() -> None:
    story = Story().define(0, ALWAYS).failed(1).opened(2)
    assert story.life.session_open
    assert story.state is AgentState.BACKOFF


def test_a_launch_put_off_is_tried_anew_under_another_name() -> None:
    story = Story().define(0)
    story = story.put_off(1)
    assert story.state is AgentState.STARTING
    assert story.effects == (LaunchRun("run-1"),)
    assert story.run_id == "run-1"
    assert story.life.restarts == 0


@pytest.mark.parametrize(
    ("reason", "state", "gone"),
    [
        (StopReason.REMOVED, AgentState.PENDING, True),
        (StopReason.DISABLED, AgentState.DISABLED, False),
        (StopReason.SHUTDOWN, AgentState.PENDING, True),
    ],
)
def test_a_stop_before_anything_was_launched_is_complete_once_the_launch_is_put_off(
    reason: StopReason, state: AgentState, gone: bool
) -> None:
    story = Story().define(0).withdraw(1, reason)
    assert (story.state, story.effects) == (AgentState.STOPPING, ())
    story = story.put_off(2)
    assert (story.state, story.life.gone) == (state, gone)
    assert CloseSession() not in story.effects


def test_a_stop_while_the_process_is_on_its_way_asks_it_to_end_once_it_is_there() -> None:
    story = Story().define(0, replace(NO, grace_period=30)).opened(0).withdraw(1)
    assert story.effects == ()
    story = story.started(5)
    assert story.effects == (TypeKey("C-c"),)
    assert story.state is AgentState.STOPPING
    assert story.life.stop is not None
    assert [step.at for step in story.life.stop.steps] == [20, 35]
    story = story.exited(6)
    assert story.life.gone


def test_a_launch_that_fails_during_a_stop_completes_it() -> None:
    story = Story().define(0, ALWAYS).opened(0).withdraw(1).failed(2)
    assert story.life.gone
    assert story.effects == (ReapRun(), CloseSession())


def test_a_launch_that_hangs_during_a_stop_is_ended_with_the_grace_period() -> None:
    story = Story().define(0, replace(NO, grace_period=30)).opened(0).withdraw(1)
    assert story.wait() == 31
    assert [type(effect) for effect in story.effects] == [KillRun]
    assert lives.wake_at(story.life) is None
    assert story.failed(32, "stopped before it had started").life.gone


def test_a_launch_whose_session_is_lost_makes_a_new_one_next_time() -> None:
    story = Story().define(0, ALWAYS).opened(0).lost(1)
    assert story.state is AgentState.STARTING
    assert not story.life.session_open


def test_every_run_has_its_own_name() -> None:
    story = running(ALWAYS)
    names = {story.run_id}
    now = 0.0
    for _ in range(3):
        story = story.exited(now)
        now = story.wait()
        names.add(story.run_id)
        story = story.opened(now).started(now)
    assert len(names) == 4


def test_the_stop_keys_are_those_of_the_launch_in_force() -> None:
    story = running()
    assert story.life.desired is not None
    desired = replace(story.life.desired, stop_keys=(), fingerprint={"argv": "other"})
    story = story.tell(lives.define(story.life, desired, at(1)))
    assert story.effects == (TypeKey("C-c"),)
    story = story.exited(2)
    assert story.life.stop_keys == ()
