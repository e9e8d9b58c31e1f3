from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.spec import Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import LaunchRun, ReapRun
from agentd.supervise.policy import Exit
from tests.supervise.lives import (
    ALWAYS,
    FAILURE,
    NO,
    ON_FAILURE,
    PID,
    SUCCESS,
    UNKNOWN,
    WALL,
    Story,
    at,
    declared,
    running,
)


def fail_until_the_end(story: Story, now: float, lasts: float = 0.0) -> int:
    """Let every run fail, and every back-off pass; returns how many runs there were."""
    runs = 1
    while True:
        story = story.exited(now + lasts)
        if story.state is not AgentState.BACKOFF:
            return runs
        now = story.wait()
        story = story.opened(now).started(now)
        runs += 1


@pytest.mark.parametrize(
    ("policy", "ended", "state", "error"),
    [
        (NO, SUCCESS, AgentState.EXITED, None),
        (NO, FAILURE, AgentState.FAILED, "exit status 1"),
        (NO, Exit(signal=9), AgentState.FAILED, "ended by signal 9"),
        (NO, UNKNOWN, AgentState.FAILED, UNKNOWN.error),
        (ON_FAILURE, SUCCESS, AgentState.EXITED, None),
        (ON_FAILURE, FAILURE, AgentState.BACKOFF, "exit status 1"),
        (replace(ON_FAILURE, success_exit_codes=(1,)), FAILURE, AgentState.EXITED, None),
        (ALWAYS, SUCCESS, AgentState.BACKOFF, None),
        (ALWAYS, FAILURE, AgentState.BACKOFF, "exit status 1"),
    ],
)
def test_an_exit_is_followed_by_what_the_restart_policy_says(
    policy: Policy, ended: Exit, state: AgentState, error: str | None
) -> None:
    story = running(policy).exited(5, ended)
    assert story.state is state
    assert story.life.error == error
    assert story.life.last_exit == ended


def test_a_restart_waits_for_the_back_off_and_ends_what_the_former_run_left_first() -> None:
    story = running(replace(ALWAYS, restart_delay=3)).exited(10)
    assert (story.life.due, lives.wake_at(story.life)) == (13, 13)
    assert story.tick(12.9).state is AgentState.BACKOFF
    story = story.tick(13)
    assert story.state is AgentState.STARTING
    assert story.effects == (ReapRun(), LaunchRun("run-13"))
    assert story.life.restarts == 1


def test_a_restart_that_succeeds_shows_no_error_of_the_former_run() -> None:
    story = running(ALWAYS).exited(0)
    now = story.wait()
    story = story.opened(now)
    assert story.life.error == "exit status 1"
    assert story.started(now).life.error is None
    assert story.life.last_exit == FAILURE


def test_the_back_off_doubles_up_to_the_cap() -> None:
    story = running(replace(ALWAYS, restart_delay=3, restart_delay_max=20))
    now, waits = 0.0, []
    for _ in range(5):
        story = story.exited(now)
        waits.append(lives.wake_at(story.life) or 0)
        waits[-1] -= now
        now = story.wait()
        story = story.opened(now).started(now)
    assert waits == [3, 6, 12, 20, 20]


def test_the_back_off_has_jitter() -> None:
    story = running(replace(ALWAYS, restart_delay=10))
    story = story.tell(lives.exited(story.life, story.run_id, FAILURE, at(0, jitter=-1.0)))
    assert story.life.due == pytest.approx(9)


@pytest.mark.parametrize("allowed", [1, 2, 5])
def test_max_restarts_gives_one_run_more_than_restarts(allowed: int) -> None:
    story = running(replace(ON_FAILURE, max_restarts=allowed))
    assert fail_until_the_end(story, 0) == allowed + 1
    assert story.state is AgentState.FAILED
    assert story.life.restarts == allowed
    used = "its only restart is" if allowed == 1 else f"all {allowed} restarts are"
    assert story.life.error == f"exit status 1; {used} used"


def test_the_last_run_allowed_may_still_end_well() -> None:
    story = running(replace(ALWAYS, max_restarts=1)).exited(0, SUCCESS)
    now = story.wait()
    story = story.opened(now).started(now).exited(now, SUCCESS)
    assert story.state is AgentState.EXITED
    assert story.life.error is None


def test_a_long_run_resets_the_back_off_and_what_counts_but_not_the_restarts_shown() -> None:
    story = running(replace(ALWAYS, restart_delay=3, restart_reset=600, max_restarts=3))
    now = 0.0
    for _ in range(2):
        story = story.exited(now)
        now = story.wait()
        story = story.opened(now).started(now)
    story = story.exited(now + 600)
    assert story.life.due == now + 603
    now = story.wait()
    assert story.life.restarts == 3
    story = story.opened(now).started(now)
    assert fail_until_the_end(story, now) == 3
    assert story.life.restarts == 5


def test_a_run_just_short_of_restart_reset_resets_nothing() -> None:
    story = running(replace(ALWAYS, restart_delay=3, restart_reset=600)).exited(0)
    now = story.wait()
    story = story.opened(now).started(now).exited(now + 599.9)
    assert story.life.due == pytest.approx(now + 599.9 + 6)


def test_only_the_time_the_process_ran_counts_towards_the_reset() -> None:
    story = running(replace(ALWAYS, restart_reset=60)).exited(0)
    story.wait()
    story = story.opened(10).started(65).exited(66)
    assert story.life.counted == 1


@pytest.mark.parametrize(
    ("policy", "state"),
    [(NO, AgentState.FAILED), (ON_FAILURE, AgentState.BACKOFF), (ALWAYS, AgentState.BACKOFF)],
)
def test_a_failed_launch_is_retried_by_the_restart_policy(policy: Policy, state: AgentState) -> None:
    story = Story().define(0, policy).failed(1)
    assert story.state is state
    assert story.life.error == "no such program"
    assert story.life.last_exit is None


def test_failed_launches_count_against_max_restarts() -> None:
    story = Story().define(0, replace(ALWAYS, max_restarts=2)).failed(0)
    for _ in range(2):
        story = story.failed(story.wait())
    assert story.state is AgentState.FAILED
    assert story.life.error == "no such program; all 2 restarts are used"


def test_a_failed_launch_after_a_success_is_a_failure_and_leaves_the_last_exit_as_it_was() -> None:
    story = running(ALWAYS).exited(0, SUCCESS)
    story = story.failed(story.wait())
    assert story.state is AgentState.BACKOFF
    assert story.life.error == "no such program"
    assert story.life.last_exit == SUCCESS


def test_a_process_that_ended_before_it_was_seen_is_judged_by_its_status() -> None:
    story = Story().define(0, ON_FAILURE).exited(1, SUCCESS)
    assert story.state is AgentState.EXITED
    # Another policy is no reason to judge it otherwise.
    assert story.define(2, replace(ON_FAILURE, grace_period=1.0)).state is AgentState.EXITED
    assert story.life.last_exit == SUCCESS


def test_no_status_is_invented_where_none_is_known() -> None:
    story = running(ON_FAILURE).exited(1, UNKNOWN)
    assert story.life.last_exit == UNKNOWN
    assert story.state is AgentState.BACKOFF


def test_without_a_configuration_a_restart_waits_for_one() -> None:
    adopted = replace(running(ALWAYS).exited(0).life, desired=None)
    story = Story(adopted)
    now = story.wait()
    assert story.state is AgentState.BACKOFF
    assert story.effects == ()
    assert story.life.error == "waiting for a valid configuration to restart"
    assert lives.wake_at(story.life) is None
    story = story.define(now + 100, ALWAYS)
    assert story.effects == (ReapRun(), LaunchRun(f"run-{now + 100:g}"))
    assert story.life.restarts == 1
    assert story.life.error == "exit status 1"


def test_an_adopted_back_off_still_to_pass_is_kept_by_the_first_configuration() -> None:
    story = Story(replace(running(ALWAYS).exited(0).life, desired=None)).define(1, ALWAYS, jitter=1.0)
    assert (story.state, story.life.due) == (AgentState.BACKOFF, 3)
    story.wait()
    assert story.state is AgentState.STARTING


def test_a_run_knows_when_it_began_for_people_and_for_the_policy() -> None:
    story = running(now=7)
    assert story.life.run is not None
    assert (story.life.run.launched, story.life.run.started, story.life.run.started_wall) == (7, 7, WALL + 7)
    assert story.life.run.pid == PID
    assert (story.life.began, story.life.began_wall) == (7, WALL + 7)
    assert story.life.run.lasted() is None
    story = story.exited(10)
    assert story.life.run is not None
    assert story.life.run.lasted() == 3


def test_a_restart_runs_what_is_declared_by_then() -> None:
    desired = declared(replace(ALWAYS, restart=RestartPolicy.ON_FAILURE))
    story = running(ALWAYS).exited(0)
    story = story.tell(lives.define(story.life, desired, at(1)))
    story.wait()
    assert story.life.desired is desired


def test_a_run_lasted_no_less_than_nothing() -> None:
    story = running(now=5).exited(4.995)
    assert story.life.run is not None
    assert story.life.run.lasted() == 0
