"""Launches that never began: no restart is used up, and the launch happens when all is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.spec import Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import LaunchRun
from agentd.supervise.plan import plan
from tests.supervise.lives import ALWAYS, NO, ON_FAILURE, Story, running


def test_without_restarts_it_fails_and_is_launched_once_all_is_there() -> None:
    story = Story().define(0, NO).refused(1)
    assert (story.state, story.life.error, lives.wake_at(story.life)) == (AgentState.FAILED, "no such workdir", None)
    assert story.life.desired is not None
    assert plan([story.life.desired.view], [story.life.view]) == ()
    story = story.prerequisites_met(5)
    assert (story.state, story.effects[-1], story.life.restarts) == (AgentState.STARTING, LaunchRun("run-5"), 0)
    assert story.opened(5).started(5).exited(6).prerequisites_met(7).state is AgentState.FAILED


def test_what_no_look_sees_is_tried_again_after_a_back_off() -> None:
    story = Story().define(0, replace(NO, restart_delay=3)).refused(1)
    assert story.prerequisites_met(3.9, tried=True).state is AgentState.FAILED
    story = story.prerequisites_met(4, tried=True).refused(4)
    assert story.prerequisites_met(9.9, tried=True).state is AgentState.FAILED
    assert story.prerequisites_met(10, tried=True).state is AgentState.STARTING


@pytest.mark.parametrize("policy", [ON_FAILURE, ALWAYS])
def test_tries_lengthen_the_back_off_and_use_up_no_restart(policy: Policy) -> None:
    story = Story().define(0, replace(policy, max_restarts=2, restart_delay=3)).refused(0)
    waits = []
    for _ in range(4):
        now = story.moment.now
        waits.append(story.wait() - now)
        story = story.refused(story.moment.now)
        assert (story.state, story.life.restarts, story.life.counted) == (AgentState.BACKOFF, 0, 0)
    assert waits == [3, 6, 12, 24]
    assert story.prerequisites_met(story.moment.now + 1).state is AgentState.STARTING
    story = story.opened(50).started(50)
    for _ in range(2):
        story = story.exited(story.moment.now)
        now = story.wait()
        story = story.opened(now).started(now)
    story = story.exited(story.moment.now)
    assert (story.state, story.life.restarts) == (AgentState.FAILED, 2)


def test_a_restart_that_never_began_is_taken_back_and_made_up_for() -> None:
    story = running(replace(ALWAYS, max_restarts=1)).exited(0)
    story = story.refused(story.wait())
    assert (story.state, story.life.restarts) == (AgentState.BACKOFF, 0)
    now = story.wait()
    assert story.life.restarts == 1
    story = story.opened(now).started(now).exited(now)
    assert (story.state, story.life.restarts) == (AgentState.FAILED, 1)


def test_an_agent_that_ran_is_not_launched_once_its_policy_ends_it() -> None:
    story = running(ALWAYS).exited(0)
    story = story.refused(story.wait()).define(5, NO)
    assert story.state is AgentState.FAILED
    assert story.prerequisites_met(6).state is AgentState.FAILED


def test_a_timeout_counts_from_the_launch_that_began() -> None:
    story = Story().define(0, Policy(timeout=10, restart=RestartPolicy.ALWAYS)).refused(0)
    assert story.life.deadline is None
    story = story.prerequisites_met(100).opened(100).started(100)
    assert story.life.deadline == 110


def test_an_agent_whose_workdir_is_covered_is_stopped_and_launched_anew() -> None:
    story = running()
    story = story.tell(lives.mounted_over(story.life, "covered", story.moment))
    assert story.life.stop is not None
    assert (story.state, story.life.stop.error) == (AgentState.STOPPING, "covered")
    assert story.exited(5).state is AgentState.STARTING
