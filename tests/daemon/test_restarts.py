"""What follows an exit: the restart policy, its counting, and the exact status."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.daemon.support import another_run, bad, counting, run_times, running, runs, start, stay
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

CODES = (0, 1, 2, 42, 125, 126, 127, 128, 255)
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGHUP)
ENDED = ("exited", "failed")


@pytest.fixture(scope="module")
def ended(shared_daemon_factory: Callable[[], Daemon]) -> Daemon:
    """A daemon whose agents all end by themselves."""
    daemon = shared_daemon_factory()
    folder = daemon.folder

    def agent(name: str, then: str, **fields: object) -> dict[str, object]:
        return counting(name, folder, then, **fields)

    start(
        daemon,
        agent("no-0", "exit 0"),
        agent("no-3", "exit 3"),
        agent("on-failure-0", "exit 0", restart="on-failure"),
        agent("on-failure-3-is-success", "exit 3", restart="on-failure", success_exit_codes=[0, 3]),
        agent("on-failure-0-is-none", "exit 0", restart="on-failure", success_exit_codes=[3], max_restarts=1),
        agent("no-3-is-success", "exit 3", success_exit_codes=[3]),
        agent("on-failure-2-restarts", "exit 1", restart="on-failure", max_restarts=2),
        agent("always-2-restarts", "exit 0", restart="always", max_restarts=2),
        agent("recovers", 'test "$(wc -l <"$0")" -ge 3', restart="on-failure", max_restarts=10),
        agent("often", ":", restart="always", max_restarts=20, restart_delay="1ms", restart_delay_max="2ms"),
        agent("grows", "exit 1", restart="always", max_restarts=4, restart_delay="100ms"),
        agent("capped", "exit 1", restart="always", restart_delay="1h", restart_delay_max="10m"),
        agent("waits", "exit 1", restart="always", restart_delay="1h", restart_delay_max="2h"),
        agent("long-enough", "sleep 0.3; exit 1", restart="on-failure", max_restarts=1, restart_reset="200ms"),
        *(agent(f"code-{code}", f"exit {code}") for code in CODES),
        *(bad(f"signal-{number}", "--die", int(number)) for number in SIGNALS),
    )
    return daemon


def until_the_next_run(daemon: Daemon, name: str) -> timedelta:
    at = daemon.wait_state(name, "backoff", timeout=30)["next_restart_at"]
    assert at is not None
    return datetime.fromisoformat(at) - datetime.now(UTC)


@pytest.mark.parametrize(
    ("name", "state", "code", "run_count"),
    [
        ("no-0", "exited", 0, 1),
        ("no-3", "failed", 3, 1),
        pytest.param("no-3-is-success", "exited", 3, 1, marks=pytest.mark.thorough),
        ("on-failure-0", "exited", 0, 1),
        pytest.param("on-failure-3-is-success", "exited", 3, 1, marks=pytest.mark.thorough),
        ("on-failure-0-is-none", "failed", 0, 2),
        ("on-failure-2-restarts", "failed", 1, 3),
        pytest.param("always-2-restarts", "exited", 0, 3, marks=pytest.mark.thorough),
        ("recovers", "exited", 0, 3),
        ("often", "exited", 0, 21),
    ],
)
def test_the_policy_decides_how_often_an_agent_runs(
    ended: Daemon, name: str, state: str, code: int, run_count: int
) -> None:
    agent = ended.wait_state(name, *ENDED, timeout=30)
    assert (agent["state"], agent["exit_code"], agent["exit_signal"]) == (state, code, None)
    assert (agent["restarts"], agent["running"], agent["pid"]) == (run_count - 1, False, None)
    assert len(runs(ended.folder, name)) == run_count
    assert agent["error"] or state == "exited"
    assert agent["next_restart_at"] is None


@pytest.mark.parametrize("code", CODES)
def test_exit_codes_are_exact(ended: Daemon, code: int) -> None:
    agent = ended.wait_state(f"code-{code}", *ENDED)
    assert (agent["exit_code"], agent["exit_signal"]) == (code, None)
    assert agent["state"] == ("failed" if code else "exited")


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_exact(ended: Daemon, number: signal.Signals) -> None:
    agent = ended.wait_state(f"signal-{int(number)}", *ENDED)
    assert (agent["state"], agent["exit_code"], agent["exit_signal"]) == ("failed", None, number)
    assert agent["error"]


def test_the_back_off_doubles_with_each_restart(ended: Daemon) -> None:
    ended.wait_state("grows", "failed", timeout=30)
    times = run_times(ended.folder, "grows")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) == 4
    for number, gap in enumerate(gaps):
        assert gap >= 0.1 * 2**number * 0.89, gaps


def test_the_back_off_has_a_cap(ended: Daemon) -> None:
    assert timedelta(minutes=8) < until_the_next_run(ended, "capped") <= timedelta(minutes=10)


def test_an_agent_in_back_off_says_when_it_runs_again(ended: Daemon) -> None:
    assert timedelta(minutes=53) < until_the_next_run(ended, "waits") < timedelta(minutes=67)
    agent = ended.wait_state("waits", "backoff")
    assert (agent["running"], agent["pid"], agent["exit_code"]) == (False, None, 1)
    assert "1" in (agent["error"] or "")


def test_a_run_that_lasted_resets_what_counts_but_not_what_is_shown(ended: Daemon) -> None:
    wait_for(lambda: len(runs(ended.folder, "long-enough")) >= 4, 30, what="four runs with one restart allowed")
    agent = ended.agent("long-enough")
    assert agent is not None
    assert agent["restarts"] >= 3


def test_health_counts_agents_by_what_became_of_them(ended: Daemon) -> None:
    def settled() -> bool:
        return not [agent for agent in ended.agents().values() if agent["state"] == "starting"]

    ended.wait_for(settled, 30, what="all agents have started")
    for name in ("often", "grows"):
        ended.wait_state(name, *ENDED, timeout=30)
    agents = ended.agents()
    counts = ended.health()["agents"]
    assert counts["total"] == len(agents)
    assert counts["failed"] == sum(agent["state"] == "failed" for agent in agents.values())


def test_an_agent_killed_by_hand_is_reported_and_follows_its_policy(daemon: Daemon) -> None:
    policies = ("no", "on-failure", "always")
    start(daemon, *(stay(policy, restart=policy, restart_delay="10ms") for policy in policies))
    before = running(daemon, *policies)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    assert daemon.wait_state("no", "failed")
    for policy in policies[1:]:
        another_run(daemon, policy, before[policy])
    found = daemon.agents().values()
    assert [(agent["exit_code"], agent["exit_signal"]) for agent in found] == [(None, signal.SIGKILL)] * 3
    assert {agent["name"]: agent["restarts"] for agent in found} == {"no": 0, "on-failure": 1, "always": 1}


@pytest.mark.crowd
def test_many_agents_that_end_at_once_lose_no_status(daemon: Daemon) -> None:
    gate = daemon.folder / "gate"
    wait = f"while ! test -e {gate}; do sleep 0.05; done"
    count = 40
    start(daemon, *(counting(f"a{number}", daemon.folder, f"{wait}; exit {number}") for number in range(count)))
    running(daemon, *(f"a{number}" for number in range(count)), timeout=40)
    gate.touch()
    for number in range(count):
        agent = daemon.wait_state(f"a{number}", *ENDED, timeout=30)
        assert (agent["exit_code"], agent["exit_signal"]) == (number, None)
