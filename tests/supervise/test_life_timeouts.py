from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import LaunchRun, ReapRun, TypeKey
from agentd.supervise.policy import Exit
from agentd.supervise.steps import START_LIMIT
from tests.supervise.lives import ALWAYS, FAILURE, NO, SUCCESS, Story, running

HOUR = replace(ALWAYS, timeout=3600.0, grace_period=30)


def test_a_timeout_stops_gracefully_and_is_not_followed_by_a_restart() -> None:
    story = running(HOUR)
    assert story.life.deadline == 3600
    assert story.wait() == 3600
    assert (story.state, story.effects) == (AgentState.STOPPING, (TypeKey("C-c"),))
    story = story.exited(3601, Exit(signal=2))
    assert (story.state, story.effects) == (AgentState.TIMED_OUT, (ReapRun(),))
    assert story.life.error == "timed out after 1h"
    assert story.life.last_exit == Exit(signal=2)
    assert story.life.deadline is None
    assert lives.wake_at(story.life) is None


@pytest.mark.parametrize("ended", [SUCCESS, FAILURE])
def test_what_times_out_has_timed_out_whatever_its_status(ended: Exit) -> None:
    assert running(HOUR).tick(3600).exited(3601, ended).state is AgentState.TIMED_OUT


def test_the_timeout_counts_over_restarts_and_back_offs() -> None:
    story = running(replace(HOUR, restart_delay=1000, restart_delay_max=1000)).exited(500)
    assert story.life.deadline == 3600
    assert story.wait() == 1500
    story = story.opened(1500).started(1500)
    assert story.wait() == 3600
    assert story.state is AgentState.STOPPING


def test_a_timeout_in_the_back_off_ends_it() -> None:
    story = running(replace(HOUR, restart_delay=1000, restart_delay_max=1000)).exited(3000)
    assert story.wait() == 3600
    assert (story.state, story.effects) == (AgentState.TIMED_OUT, (ReapRun(),))
    assert story.life.due is None


def test_a_timeout_in_the_same_moment_as_a_restart_wins() -> None:
    story = running(replace(HOUR, restart_delay=600, restart_delay_max=600)).exited(3000)
    assert story.tick(3600).state is AgentState.TIMED_OUT


def test_a_timeout_counts_from_the_launch_not_from_the_process() -> None:
    story = Story().define(0, replace(HOUR, timeout=10)).opened(9)
    assert story.wait() == 10
    assert story.state is AgentState.STOPPING
    story = story.started(11)
    assert story.effects == (TypeKey("C-c"),)
    assert story.exited(12).state is AgentState.TIMED_OUT


def test_a_launch_that_is_still_waiting_for_its_turn_times_out() -> None:
    story = Story().define(0, replace(HOUR, timeout=10))
    assert story.wait() == 10
    story = story.put_off(11)
    assert story.state is AgentState.TIMED_OUT
    assert story.life.run is None


def test_a_launch_that_never_was_may_be_given_another_policy() -> None:
    story = Story().define(0, replace(HOUR, timeout=10)).tick(10).put_off(11)
    assert story.define(12, replace(HOUR, timeout=11)).state is AgentState.TIMED_OUT
    assert story.define(13, HOUR).effects == (LaunchRun("run-13"),)


def test_the_earlier_of_start_limit_and_timeout_comes_first() -> None:
    assert lives.wake_at(Story().define(0, replace(HOUR, timeout=10)).opened(0).life) == 10
    assert lives.wake_at(Story().define(0, HOUR).opened(0).life) == START_LIMIT


def test_a_timeout_changed_in_place_counts_from_the_same_beginning() -> None:
    story = running(NO).define(100, replace(NO, timeout=150))
    assert (story.state, story.effects, story.life.deadline) == (AgentState.RUNNING, (), 150)
    story = story.define(120, replace(NO, timeout=120))
    assert story.state is AgentState.STOPPING
    assert story.exited(121).life.error == "timed out after 2m"


def test_a_timeout_taken_away_lets_the_agent_run() -> None:
    story = running(HOUR).define(100, ALWAYS)
    assert story.life.deadline is None
    assert lives.wake_at(story.life) is None


def test_a_timeout_extended_during_the_stop_begins_the_agent_anew() -> None:
    story = running(HOUR).tick(3600).define(3601, replace(HOUR, timeout=7200)).exited(3602)
    assert story.effects == (ReapRun(), LaunchRun("run-3602"))
    assert story.life.began == 3602


def test_another_policy_during_the_stop_of_a_timeout_does_not_undo_it() -> None:
    story = running(HOUR).tick(3600).define(3601, replace(HOUR, timeout=3601)).exited(3602)
    assert story.state is AgentState.TIMED_OUT


def test_an_agent_without_configuration_times_out_by_the_policy_it_had() -> None:
    story = Story(replace(running(HOUR).life, desired=None)).tick(3600).exited(3601)
    assert story.state is AgentState.TIMED_OUT


def test_what_timed_out_stays_so_until_its_timeout_is_extended() -> None:
    story = running(HOUR).tick(3600).exited(3601)
    assert story.define(4000, replace(HOUR, grace_period=1)).state is AgentState.TIMED_OUT
    assert story.define(4000, replace(HOUR, timeout=4000)).state is AgentState.TIMED_OUT
    story = story.define(4000, replace(HOUR, timeout=4001))
    assert story.effects == (ReapRun(), LaunchRun("run-4000"))
    assert story.life.deadline == 8001


def test_a_timed_out_agent_with_another_launch_begins_anew() -> None:
    story = running(HOUR).tick(3600).exited(3601).define(4000, HOUR, launch="second")
    assert story.state is AgentState.STARTING
    assert story.life.deadline == 7600
    assert story.life.error is None


def test_the_deadline_stands_while_the_agent_is_being_stopped() -> None:
    assert running(HOUR).withdraw(1).life.deadline == 3600


def test_an_agent_without_timeout_has_no_deadline() -> None:
    assert running(NO).life.deadline is None
    assert Story().life.deadline is None
