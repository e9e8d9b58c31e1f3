from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.spec import Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import LaunchRun, ReapRun, StopReason, TypeKey
from agentd.supervise.policy import Exit
from tests.supervise.lives import ALWAYS, FAILURE, NO, ON_FAILURE, SUCCESS, Story, in_state, running

ENDED = [AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT]

# -- the launch changes


def test_another_launch_stops_the_running_agent_and_launches_it_anew() -> None:
    story = running(ALWAYS).define(1, ALWAYS, launch="second")
    assert (story.state, story.effects) == (AgentState.STOPPING, (TypeKey("C-c"),))
    story = story.exited(2)
    assert story.effects == (ReapRun(), LaunchRun("run-2"))
    assert story.life.fingerprint == {"argv": "second"}


def test_another_launch_of_an_agent_that_is_starting_stops_that_start_first() -> None:
    story = Story().define(0).define(1, launch="second")
    assert (story.state, story.effects) == (AgentState.STOPPING, ())
    assert story.put_off(2).effects == (LaunchRun("run-2"),)


def test_a_launch_that_changes_again_during_the_stop_is_the_one_that_is_launched() -> None:
    story = running().define(1, launch="second").define(2, launch="third").exited(3)
    assert story.life.fingerprint == {"argv": "third"}


def test_a_launch_that_changes_back_during_the_stop_is_launched() -> None:
    story = running().define(1, launch="second").define(2, launch="first").exited(3, SUCCESS)
    assert story.state is AgentState.STARTING
    assert story.life.fingerprint == {"argv": "first"}


@pytest.mark.parametrize("state", [*ENDED, AgentState.BACKOFF])
def test_another_launch_begins_an_agent_that_ended_or_waits_anew(state: AgentState) -> None:
    story = in_state(state)
    story = story.define(1, story.life.policy, launch="second")
    assert story.state is AgentState.STARTING
    assert story.effects == (ReapRun(), LaunchRun("run-1"))
    assert (story.life.restarts, story.life.counted, story.life.began, story.life.error) == (0, 0, 1, None)


def test_another_launch_may_use_all_its_restarts_again() -> None:
    policy = replace(ALWAYS, max_restarts=1)
    story = running(policy).exited(0)
    now = story.wait()
    story = story.opened(now).started(now).exited(now)
    assert story.state is AgentState.FAILED
    story = story.define(100, policy, launch="second").opened(100).started(100).exited(100)
    assert story.state is AgentState.BACKOFF
    assert story.life.restarts == 0


def test_another_launch_keeps_the_exit_of_the_last_run_in_sight() -> None:
    assert running().exited(1, Exit(code=7)).define(2, launch="second").life.last_exit == Exit(code=7)


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("launch", ["first", None])
def test_an_agent_that_ended_stays_ended_while_its_definition_is_the_same(
    state: AgentState, launch: str | None
) -> None:
    story = in_state(state)
    for now in (1, 10, 100):
        assert story.define(now, story.life.policy, launch).tick(now).state is state
        assert story.effects == ()


def test_a_launch_that_can_no_longer_be_known_touches_nothing_that_runs() -> None:
    story = running(ALWAYS).define(1, ALWAYS, launch=None)
    assert (story.state, story.effects) == (AgentState.RUNNING, ())
    story = story.exited(2)
    story.wait()
    assert story.effects[-1] == LaunchRun(story.run_id)
    story = story.failed(10, "the prompt file is missing")
    assert story.state is AgentState.BACKOFF
    assert story.life.fingerprint is None
    assert story.define(11, ALWAYS, launch="first").state is AgentState.STARTING


def test_a_change_to_a_launch_that_turns_unknown_during_the_stop_is_tried_all_the_same() -> None:
    story = running(NO).define(1, NO, launch="second").define(2, NO, launch=None).exited(3)
    assert story.state is AgentState.STARTING
    assert story.failed(4).state is AgentState.FAILED


# -- the policy changes


@pytest.mark.parametrize(
    "policy",
    [
        ALWAYS,
        replace(NO, max_restarts=3),
        replace(NO, restart_delay=1, restart_delay_max=2, restart_reset=3),
        replace(NO, timeout=100),
        replace(NO, grace_period=1),
        replace(NO, success_exit_codes=(0, 1)),
    ],
)
def test_another_policy_applies_to_the_running_agent_without_touching_it(policy: Policy) -> None:
    story = running(NO)
    run = story.life.run
    story = story.define(1, policy)
    assert (story.state, story.effects, story.life.run) == (AgentState.RUNNING, (), run)
    assert story.life.policy == policy


def test_the_policy_in_force_at_the_exit_decides() -> None:
    assert running(NO).define(1, ALWAYS).exited(2).state is AgentState.BACKOFF
    assert running(ALWAYS).define(1, NO).exited(2).state is AgentState.FAILED
    assert running(NO).define(1, replace(NO, success_exit_codes=(1,))).exited(2, FAILURE).state is AgentState.EXITED


def test_another_grace_period_counts_for_the_next_stop() -> None:
    story = running(NO).define(1, replace(NO, grace_period=10)).withdraw(100)
    assert lives.wake_at(story.life) == 105


def test_another_delay_moves_the_end_of_the_back_off_and_counts_from_the_exit() -> None:
    story = running(replace(ALWAYS, restart_delay=100)).exited(0)
    assert story.life.due == 100
    story = story.define(10, replace(ALWAYS, restart_delay=50))
    assert (story.state, story.life.due, story.effects) == (AgentState.BACKOFF, 50, ())
    story = story.define(20, replace(ALWAYS, restart_delay=5))
    assert story.state is AgentState.STARTING
    assert story.life.restarts == 1


def test_a_policy_without_restart_ends_the_back_off() -> None:
    story = running(ALWAYS).exited(0, SUCCESS).define(1, NO)
    assert (story.state, story.life.error, story.life.due) == (AgentState.EXITED, None, None)
    story = running(ALWAYS).exited(0, FAILURE).define(1, NO)
    assert (story.state, story.life.error) == (AgentState.FAILED, "exit status 1")


def test_fewer_restarts_than_were_made_end_the_back_off() -> None:
    story = running(ALWAYS).exited(0)
    now = story.wait()
    story = story.opened(now).started(now).exited(now).define(now, replace(ALWAYS, max_restarts=1))
    assert story.state is AgentState.FAILED


def test_a_policy_that_restarts_brings_an_ended_agent_back_after_its_back_off() -> None:
    story = running(NO).exited(0).define(1, ON_FAILURE)
    assert (story.state, story.life.due) == (AgentState.BACKOFF, 3)
    story = running(NO).exited(0).define(100, ON_FAILURE)
    assert story.state is AgentState.STARTING
    assert story.effects == (ReapRun(), LaunchRun("run-100"))
    assert story.life.restarts == 1


def test_more_restarts_bring_back_an_agent_that_had_used_them_all() -> None:
    policy = replace(ALWAYS, max_restarts=1)
    story = running(policy).exited(0)
    now = story.wait()
    story = story.opened(now).started(now).exited(now)
    assert story.state is AgentState.FAILED
    story = story.define(now + 100, replace(policy, max_restarts=2))
    assert story.state is AgentState.STARTING
    assert story.life.restarts == 2


@pytest.mark.parametrize("times", [1, 3])
def test_an_unrelated_policy_leaves_an_ended_agent_and_its_reason_as_they_are(times: int) -> None:
    policy = replace(ALWAYS, max_restarts=1)
    story = Story().define(0, policy).failed(0)
    story = story.failed(story.wait())
    for number in range(times):
        story = story.define(100 + number, replace(policy, grace_period=number))
    assert story.state is AgentState.FAILED
    assert story.life.error == "no such program; its only restart is used"


def test_other_success_codes_judge_an_ended_agent_anew() -> None:
    story = running(NO).exited(0, Exit(code=3)).define(1, replace(NO, success_exit_codes=(0, 3)))
    assert (story.state, story.life.error) == (AgentState.EXITED, None)
    assert story.define(2, NO).state is AgentState.FAILED


def test_a_restart_by_another_policy_respects_the_timeout_of_the_whole_life() -> None:
    story = running(replace(NO, timeout=60)).exited(1).define(1000, replace(ALWAYS, timeout=60))
    assert (story.state, story.effects) == (AgentState.TIMED_OUT, (ReapRun(),))


def test_a_policy_with_a_launch_that_changed_too_is_in_force_at_once() -> None:
    policy = replace(ALWAYS, grace_period=4)
    story = running(NO).define(100, policy, launch="second")
    assert story.life.policy == policy
    assert lives.wake_at(story.life) == 102


def test_an_agent_enabled_again_begins_anew() -> None:
    story = running(ALWAYS).withdraw(1, StopReason.DISABLED).exited(2).define(3, ALWAYS)
    assert story.state is AgentState.STARTING
    assert story.effects == (ReapRun(), LaunchRun("run-3"))
    assert story.life.began == 3


def test_restart_always_without_limit_goes_on() -> None:
    story = running(Policy(restart=RestartPolicy.ALWAYS, restart_delay=0))
    for now in range(200):
        story = story.exited(now)
        assert story.wait() == now
        story = story.opened(now).started(now)
    assert story.life.restarts == 200
