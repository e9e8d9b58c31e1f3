from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.harness.base import interrupts
from agentd.model.spec import Policy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import (
    CloseSession,
    KillRun,
    LaunchRun,
    Life,
    ReapRun,
    ReportStopped,
    StopReason,
    TerminateGroup,
    TypeKey,
)
from agentd.supervise.policy import Exit
from tests.supervise.lives import ALWAYS, FAILURE, NO, ON_FAILURE, SUCCESS, Story, at, declared, in_state, running

GRACE_30 = replace(ALWAYS, grace_period=30)
LEAVING = [StopReason.REMOVED, StopReason.DISABLED, StopReason.SHUTDOWN]


@pytest.mark.parametrize("reason", LEAVING)
def test_a_stop_types_c_c_terminates_at_half_of_the_grace_period_and_kills_at_its_end(reason: StopReason) -> None:
    story = running(GRACE_30).withdraw(100, reason)
    assert (story.state, story.effects) == (AgentState.STOPPING, (TypeKey("C-c"),))
    assert story.wake() == (115, (TerminateGroup(),))
    assert story.wake() == (130, (KillRun(),))
    assert story.state is AgentState.STOPPING
    assert lives.wake_at(story.life) is None


def test_a_harness_that_needs_more_keys_gets_them_in_time() -> None:
    desired = declared(GRACE_30, keys=interrupts(3))
    story = Story().tell(lives.define(Life("a"), desired, at(0))).opened(0).started(0).withdraw(100)
    assert story.effects == (TypeKey("C-c"),)
    assert story.wake() == (100.4, (TypeKey("C-c"),))
    assert story.wake() == (100.8, (TypeKey("C-c"),))
    assert story.wake() == (115, (TerminateGroup(),))


def test_a_tick_that_comes_late_does_all_that_is_due_in_order() -> None:
    story = running(GRACE_30).withdraw(100).tick(1000)
    assert story.effects == (TerminateGroup(), KillRun())


def test_without_grace_the_kill_comes_at_once() -> None:
    assert running(replace(NO, grace_period=0)).withdraw(100).effects == (KillRun(),)


def test_an_agent_that_ends_early_ends_the_stop_at_once() -> None:
    story = running(GRACE_30).withdraw(100).exited(100.1, Exit(signal=2))
    assert story.life.gone
    assert story.effects == (ReapRun(), CloseSession())
    assert story.life.last_exit == Exit(signal=2)


def test_an_agent_that_is_disabled_keeps_its_place_without_a_session() -> None:
    story = running(GRACE_30).withdraw(100, StopReason.DISABLED).exited(101)
    assert story.state is AgentState.DISABLED
    assert story.effects == (ReapRun(), CloseSession())
    assert not story.life.gone
    assert not story.life.session_open
    assert story.life.error is None
    assert story.withdraw(102, StopReason.DISABLED).effects == ()
    assert story.withdraw(103).life.gone


def test_a_shutdown_leaves_the_session_to_the_end_of_the_server() -> None:
    story = running(GRACE_30).withdraw(100, StopReason.SHUTDOWN).exited(101)
    assert story.life.gone
    assert story.effects == (ReapRun(),)


@pytest.mark.parametrize("policy", [NO, ON_FAILURE, ALWAYS])
@pytest.mark.parametrize("ended", [SUCCESS, FAILURE])
@pytest.mark.parametrize("reason", LEAVING)
def test_what_is_stopped_is_not_restarted_whatever_its_policy(reason: StopReason, ended: Exit, policy: Policy) -> None:
    story = running(policy).withdraw(1, reason).exited(2, ended)
    assert story.state in (AgentState.PENDING, AgentState.DISABLED)
    assert not any(isinstance(effect, LaunchRun) for effect in story.effects)
    assert lives.wake_at(story.life) is None


def test_a_stop_in_the_back_off_ends_it_at_once() -> None:
    story = running(ALWAYS).exited(0).withdraw(1)
    assert story.life.gone
    assert story.effects == (ReapRun(), CloseSession())


@pytest.mark.parametrize("state", [AgentState.BACKOFF, AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT])
def test_what_ended_is_removed_with_all_it_left_behind(state: AgentState) -> None:
    story = in_state(state).withdraw(1)
    assert story.effects == (ReapRun(), CloseSession())
    assert story.life.gone


@pytest.mark.parametrize("state", [AgentState.BACKOFF, AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT])
def test_a_session_that_is_gone_already_is_not_closed_again(state: AgentState) -> None:
    assert in_state(state).lost(0).withdraw(1).effects == (ReapRun(),)


@pytest.mark.parametrize("reason", [StopReason.REMOVED, StopReason.DISABLED])
def test_an_agent_declared_again_during_its_stop_is_launched_after_it_in_a_new_session(reason: StopReason) -> None:
    story = running(ALWAYS).exited(0)
    now = story.wait()
    story = story.opened(now).started(now).withdraw(100, reason)
    assert story.life.view.leaving
    story = story.define(101, GRACE_30, launch="second")
    assert (story.state, story.effects) == (AgentState.STOPPING, ())
    story = story.exited(102)
    assert story.state is AgentState.STARTING
    assert story.effects[:2] == (ReapRun(), CloseSession())
    assert story.effects[-1] == LaunchRun("run-102")
    assert not story.life.view.leaving
    assert not story.life.gone
    assert not story.life.session_open
    assert (story.life.restarts, story.life.counted, story.life.began) == (0, 0, 102)
    assert story.life.fingerprint == {"argv": "second"}


def test_an_agent_declared_again_and_removed_again_is_removed() -> None:
    story = running(ALWAYS).withdraw(1).define(2, ALWAYS).withdraw(3).exited(4)
    assert story.life.gone


def test_an_agent_declared_again_once_it_is_gone_lives_anew() -> None:
    # Its session may still be being closed when it is declared again.
    story = running(ALWAYS).withdraw(1).exited(2)
    assert story.life.gone
    story = story.define(3, ALWAYS)
    assert not story.life.gone
    assert story.effects == (ReapRun(), LaunchRun("run-3"))


def test_a_shutdown_is_final() -> None:
    story = running(ALWAYS).withdraw(1, StopReason.SHUTDOWN).define(2, ALWAYS).exited(3)
    assert story.life.gone
    assert story.effects == (ReapRun(),)


def test_a_later_reason_to_leave_replaces_the_first() -> None:
    story = running().withdraw(1).withdraw(2, StopReason.DISABLED).exited(3)
    assert story.state is AgentState.DISABLED


def test_a_stop_already_under_way_is_not_started_anew() -> None:
    story = running(GRACE_30).withdraw(100).withdraw(110).define(111, replace(GRACE_30, grace_period=300))
    assert story.wait() == 115
    assert story.wait() == 130


def test_stopping_at_once_kills_without_waiting_and_only_what_is_being_stopped() -> None:
    story = running(GRACE_30).withdraw(100).kill_now(101)
    assert story.effects == (KillRun(),)
    assert lives.wake_at(story.life) is None
    assert running().kill_now(1).effects == ()


def test_a_process_that_appears_after_stopping_at_once_is_killed() -> None:
    story = Story().define(0, GRACE_30).opened(0).withdraw(1).kill_now(2).started(3)
    assert story.effects == (KillRun(),)


def test_a_lost_session_terminates_the_agent_without_typing() -> None:
    story = running(GRACE_30).lost(100)
    assert (story.state, story.effects) == (AgentState.STOPPING, (TerminateGroup(),))
    assert story.wake() == (130, (KillRun(),))


@pytest.mark.parametrize(
    ("policy", "state"),
    [(NO, AgentState.FAILED), (ON_FAILURE, AgentState.BACKOFF), (ALWAYS, AgentState.BACKOFF)],
)
@pytest.mark.parametrize("ended", [SUCCESS, Exit(signal=15)])
def test_a_lost_session_is_a_failure_whatever_the_status(ended: Exit, policy: Policy, state: AgentState) -> None:
    story = running(policy).lost(100).exited(101, ended)
    assert story.state is state
    assert story.effects == (ReapRun(),)
    assert story.life.error == "its tmux session was closed"
    assert story.life.last_exit == ended
    # Another policy is no reason to forget that.
    assert story.define(102, replace(policy, grace_period=1)).state is state
    assert story.life.error == "its tmux session was closed"


def test_a_lost_session_with_an_unknown_status_says_what_is_known() -> None:
    gone = Exit(error="ended with an unknown status: its session was closed or its launcher killed")
    story = running(NO).lost(100).exited(101, gone)
    assert story.life.error == gone.error
    assert story.life.last_exit == gone


def test_a_session_lost_during_a_stop_changes_nothing_of_its_end() -> None:
    story = running(ALWAYS).withdraw(1).lost(2).exited(3)
    assert story.life.gone
    assert story.effects == (ReapRun(),)


def test_a_session_lost_and_then_another_definition_is_launched_at_once() -> None:
    story = running(NO).lost(1).define(2, NO, launch="second").exited(3)
    assert story.state is AgentState.STARTING


def test_an_agent_removed_after_its_session_was_lost_is_removed() -> None:
    story = running(ALWAYS).lost(1).withdraw(2).exited(3)
    assert story.life.gone


def test_a_stop_is_complete_only_when_nothing_the_run_started_is_left() -> None:
    life = running().withdraw(1, StopReason.DISABLED).life
    assert life.run is not None
    life, effects = lives.exited(life, life.run.id, SUCCESS, at(2))
    assert (life.state, effects) == (AgentState.STOPPING, (ReapRun(), ReportStopped()))
    assert lives.wake_at(life) is None
    life, effects = lives.stopped(life, at(3))
    assert (life.state, effects) == (AgentState.STOPPING, (CloseSession(), ReportStopped()))
    life, effects = lives.stopped(life, at(4))
    assert (life.state, effects) == (AgentState.DISABLED, ())


def test_an_ended_agent_shows_how_it_ended_until_its_session_is_closed() -> None:
    life, effects = lives.withdraw(running().exited(1, SUCCESS).life, StopReason.DISABLED, at(2))
    assert (life.state, effects) == (AgentState.EXITED, (ReapRun(), ReportStopped()))
    life, effects = lives.stopped(life, at(3))
    assert (life.state, effects) == (AgentState.EXITED, (CloseSession(), ReportStopped()))
    assert lives.stopped(life, at(4))[0].state is AgentState.DISABLED


def test_an_agent_declared_again_while_its_session_is_being_closed_is_launched_after_that() -> None:
    life, _ = lives.withdraw(running().exited(1, SUCCESS).life, StopReason.REMOVED, at(2))
    life, effects = lives.define(life, declared(), at(3))
    assert (life.state, effects) == (AgentState.EXITED, ())
    life, effects = lives.stopped(life, at(4))
    assert effects == (CloseSession(), ReportStopped())
    life, effects = lives.stopped(life, at(5))
    assert (life.state, effects) == (AgentState.STARTING, (LaunchRun("run-5"),))


def test_an_end_after_the_deadline_that_no_daemon_saw_is_a_timeout() -> None:
    for now in (10, 11):
        assert running(replace(ALWAYS, timeout=10.0)).exited(now).state is AgentState.TIMED_OUT
    assert running(replace(ALWAYS, timeout=10.0)).exited(9.9).state is AgentState.BACKOFF
