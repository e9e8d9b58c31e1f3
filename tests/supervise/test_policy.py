from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.harness.base import StopKey, interrupts
from agentd.model.limits import OomPolicy
from agentd.model.spec import Policy, RestartPolicy
from agentd.supervise.policy import (
    End,
    Exit,
    Restart,
    StopAction,
    StopStep,
    after_exit,
    backoff,
    counted_after,
    stop_schedule,
)
from tests.supervise.lives import ALWAYS, FAILURE, NO, ON_FAILURE, SUCCESS, UNKNOWN

# -- exits


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        (0, Exit(code=0)),
        (1, Exit(code=1)),
        (127, Exit(code=127)),
        (128, Exit(code=128)),
        (129, Exit(signal=1)),
        (130, Exit(signal=2)),
        (137, Exit(signal=9)),
        (143, Exit(signal=15)),
        (192, Exit(signal=64)),
        (193, Exit(code=193)),
        (255, Exit(code=255)),
    ],
)
def test_a_status_over_128_is_a_signal(status: int, ended: Exit) -> None:
    assert Exit.from_status(status) == ended


@given(st.integers(0, 255))
def test_every_status_is_either_a_code_or_a_signal(status: int) -> None:
    ended = Exit.from_status(status)
    assert (ended.code is None) != (ended.signal is None)
    assert ended.error is None
    assert ended.succeeded(Policy(success_exit_codes=(status,)))
    assert not ended.succeeded(Policy(success_exit_codes=tuple(code for code in range(256) if code != status)))


@pytest.mark.parametrize(
    ("ended", "codes", "success"),
    [
        (Exit(code=0), (0,), True),
        (Exit(code=0), (), False),
        (Exit(code=0), (3,), False),
        (Exit(code=3), (0, 3), True),
        (Exit(signal=15), (0,), False),
        (Exit(signal=15), (15,), False),
        (Exit(signal=15), (143,), True),
        (UNKNOWN, (0,), False),
        (Exit(), (0,), False),
    ],
)
def test_success_is_what_success_exit_codes_say(ended: Exit, codes: tuple[int, ...], success: bool) -> None:
    assert ended.succeeded(Policy(success_exit_codes=codes)) is success


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Exit(code=3), "exit status 3"),
        (Exit(signal=9), "ended by signal 9"),
        (Exit(error="no such program"), "no such program"),
        (Exit(), "ended with an unknown status"),
    ],
)
def test_an_exit_says_how_it_was(ended: Exit, words: str) -> None:
    assert ended.describe() == words


# -- what follows an exit


@pytest.mark.parametrize(
    ("policy", "ended", "restarts"),
    [
        (NO, SUCCESS, False),
        (NO, FAILURE, False),
        (NO, UNKNOWN, False),
        (ON_FAILURE, SUCCESS, False),
        (ON_FAILURE, FAILURE, True),
        (ON_FAILURE, Exit(signal=15), True),
        (ON_FAILURE, UNKNOWN, True),
        (replace(ON_FAILURE, success_exit_codes=(0, 1)), FAILURE, False),
        (replace(ON_FAILURE, success_exit_codes=(1,)), SUCCESS, True),
        (ALWAYS, SUCCESS, True),
        (ALWAYS, FAILURE, True),
        (ALWAYS, UNKNOWN, True),
    ],
)
def test_restarts_follow_the_restart_policy(policy: Policy, ended: Exit, restarts: bool) -> None:
    assert isinstance(after_exit(policy, ended, 0, 0.0), Restart) is restarts


@pytest.mark.parametrize("restart", RestartPolicy)
def test_on_oom_decides_what_follows_an_end_for_want_of_memory_alone(restart: RestartPolicy) -> None:
    policies = {rule: Policy(restart=restart, max_restarts=1, on_oom=rule) for rule in (None, *OomPolicy)}
    killed = Exit(signal=9, oom="the kernel killed it")
    follows = {rule: isinstance(after_exit(policy, killed, 0, 0.0), Restart) for rule, policy in policies.items()}
    assert follows == {None: restart is not RestartPolicy.NO, OomPolicy.RESTART: True, OomPolicy.STOP: False}
    assert isinstance(after_exit(policies[OomPolicy.RESTART], killed, 1, 0.0), End)
    for policy in policies.values():
        assert after_exit(policy, SUCCESS, 0, 0.0) == after_exit(policies[None], SUCCESS, 0, 0.0)
        assert after_exit(policy, FAILURE, 0, 0.0) == after_exit(policies[None], FAILURE, 0, 0.0)


def test_an_end_for_want_of_memory_is_no_success_and_says_so() -> None:
    killed = Exit(signal=9, oom="the kernel killed it")
    assert not killed.succeeded(Policy(success_exit_codes=(137,)))
    assert (killed.reason, killed.describe()) == ("oom", "oom: the kernel killed it; ended by signal 9")


def test_an_end_in_failure_says_why_and_one_in_success_says_nothing() -> None:
    assert after_exit(NO, FAILURE, 0, 0.0) == End(success=False, error="exit status 1")
    assert after_exit(NO, SUCCESS, 0, 0.0) == End(success=True, error=None)


def test_the_end_says_when_all_restarts_are_used() -> None:
    policy = replace(ALWAYS, max_restarts=2)
    assert after_exit(policy, FAILURE, 2, 0.0) == End(success=False, error="exit status 1; all 2 restarts are used")
    assert after_exit(policy, SUCCESS, 2, 0.0) == End(success=True, error=None)


@pytest.mark.parametrize(("counted", "restarts"), [(0, True), (1, True), (2, False), (3, False)])
def test_max_restarts_counts_restarts(counted: int, restarts: bool) -> None:
    verdict = after_exit(replace(ON_FAILURE, max_restarts=2), FAILURE, counted, 0.0)
    assert isinstance(verdict, Restart) is restarts


@given(st.integers(0, 10**9))
def test_max_restarts_0_is_no_limit(counted: int) -> None:
    assert isinstance(after_exit(ALWAYS, FAILURE, counted, 0.0), Restart)


@given(st.integers(1, 20), st.floats(-1, 1))
def test_max_restarts_is_never_exceeded(allowed: int, jitter: float) -> None:
    policy = replace(ALWAYS, max_restarts=allowed)
    runs = counted = 0
    while True:
        runs += 1
        if not isinstance(after_exit(policy, FAILURE, counted, jitter), Restart):
            break
        counted += 1
    assert runs == allowed + 1


# -- back-off

durations = st.floats(0, 2**63 / 10**9, allow_subnormal=False)
jitters = st.floats(-1, 1)
counts = st.integers(0, 5000)


def test_the_back_off_doubles_from_the_first_delay_up_to_the_cap() -> None:
    policy = Policy(restart_delay=3, restart_delay_max=20)
    assert [backoff(policy, counted, 0.0) for counted in range(5)] == [3, 6, 12, 20, 20]


@pytest.mark.parametrize(("jitter", "delay"), [(-1, 9), (-0.5, 9.5), (0, 10), (1, 11)])
def test_the_jitter_is_ten_percent_each_way(jitter: float, delay: float) -> None:
    assert backoff(Policy(restart_delay=10), 0, jitter) == pytest.approx(delay)


def test_the_jitter_still_spreads_agents_that_reached_the_cap() -> None:
    policy = Policy(restart_delay=1, restart_delay_max=100)
    assert backoff(policy, 50, -1) == pytest.approx(90)
    assert backoff(policy, 50, 1) == 100


@given(durations, durations, counts, jitters)
def test_the_back_off_lies_within_its_bounds(first: float, cap: float, counted: int, jitter: float) -> None:
    delay = backoff(Policy(restart_delay=first, restart_delay_max=cap), counted, jitter)
    assert 0 <= delay <= cap
    plain = min(first * 2 ** min(counted, 60), cap)
    assert plain * 0.9 * (1 - 1e-9) <= delay <= plain * 1.1 * (1 + 1e-9)


@given(durations, durations, counts, jitters)
def test_the_back_off_never_shrinks_from_one_restart_to_the_next(
    first: float, cap: float, counted: int, jitter: float
) -> None:
    policy = Policy(restart_delay=first, restart_delay_max=cap)
    assert backoff(policy, counted, jitter) <= backoff(policy, counted + 1, jitter)


@given(st.floats(0.001, 1e6), st.integers(0, 30), jitters, jitters)
def test_no_jitter_makes_up_for_a_doubling(first: float, counted: int, jitter: float, other: float) -> None:
    policy = Policy(restart_delay=first, restart_delay_max=first * 2.0**40)
    assert backoff(policy, counted, jitter) < backoff(policy, counted + 1, other)


def test_a_restart_waits_for_the_back_off() -> None:
    policy = Policy(restart=RestartPolicy.ALWAYS, restart_delay=4)
    assert after_exit(policy, FAILURE, 3, -1.0) == Restart(backoff(policy, 3, -1.0))


# -- what counts


@pytest.mark.parametrize(("lasted", "counted"), [(None, 5), (0.0, 5), (599.9, 5), (600.0, 0), (10_000.0, 0)])
def test_a_run_as_long_as_restart_reset_makes_nothing_count_any_more(lasted: float | None, counted: int) -> None:
    assert counted_after(Policy(restart_reset=600), 5, lasted) == counted


# -- stops


def test_a_graceful_stop_types_c_c_then_terminates_at_half_and_kills_at_the_end() -> None:
    assert stop_schedule(100, 30, (StopKey("C-c"),)) == (
        StopStep(100, StopAction.KEY, "C-c"),
        StopStep(115, StopAction.TERMINATE),
        StopStep(130, StopAction.KILL),
    )


def test_keys_are_typed_when_the_harness_says_as_long_as_nothing_was_signalled() -> None:
    steps = stop_schedule(100, 1.6, interrupts(4))
    typed = [step.at for step in steps if step.action is StopAction.KEY]
    assert typed == [100, pytest.approx(100.4)]


def test_without_grace_the_kill_comes_at_once_and_alone() -> None:
    assert stop_schedule(100, 0, interrupts(3)) == (StopStep(100, StopAction.KILL),)


def test_without_a_terminal_sigterm_comes_first() -> None:
    assert stop_schedule(100, 30, interrupts(3), terminal=False) == (
        StopStep(100, StopAction.TERMINATE),
        StopStep(130, StopAction.KILL),
    )


@given(st.floats(0, 1e9), st.floats(0, 1e6), st.integers(0, 5), st.booleans())
def test_every_stop_runs_in_order_of_time_from_now_to_the_end_of_the_grace_period_and_kills_last(
    now: float, grace: float, presses: int, terminal: bool
) -> None:
    steps = stop_schedule(now, grace, interrupts(presses), terminal=terminal)
    assert all(earlier.at <= later.at for earlier, later in pairwise(steps))
    assert steps[-1] == StopStep(now + grace, StopAction.KILL)
    assert [step.action for step in steps].count(StopAction.KILL) == 1
    assert [step.action for step in steps].count(StopAction.TERMINATE) == (grace > 0)
    assert all(now <= step.at <= now + grace for step in steps)
    assert all((step.action is StopAction.KEY) == bool(step.key) for step in steps)
