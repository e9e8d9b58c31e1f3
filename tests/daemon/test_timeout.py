"""``timeout``: for the whole life of an agent, then a graceful stop that leaves its session."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import datetime

import pytest

from tests.daemon.support import (
    RUN_ID,
    bad,
    counting,
    declare,
    environment_of,
    of_run,
    own_home,
    run_times,
    runs,
    start,
    stay,
)
from tests.daemon.test_events import kinds
from tests.support.daemon import Daemon


@pytest.fixture(scope="module")
def timed(shared_daemon_factory: Callable[[], Daemon]) -> Daemon:
    """A daemon whose agents run out of time, but for one."""
    daemon = shared_daemon_factory()
    folder = daemon.folder
    # Four seconds, as some have to have ended by then, and others to catch signals, on a loaded machine, too.
    start(
        daemon,
        counting("restarts", folder, "sleep 0.2; exit 1", restart="always", timeout="4s"),
        counting("waits", folder, "exit 1", restart="always", restart_delay="1h", restart_delay_max="1h", timeout="4s"),
        counting("fails", folder, "exit 1", timeout="4s"),
        bad("polite", "--on-int=7", "--forever", timeout="4s", restart="always", **own_home(daemon)),
        bad("needs-sigterm", "--ignore=INT", "--forever", timeout="4s", grace_period="1s"),
        bad(
            "deaf",
            "--ignore=INT,TERM,HUP",
            "--grandchildren=3",
            "--forever",
            timeout="4s",
            grace_period="800ms",
            **own_home(daemon),
        ),
        stay("in-time", timeout="1h"),
    )
    return daemon


@pytest.mark.parametrize(
    ("name", "code", "number", "limit"),
    [
        ("polite", 7, None, "4s"),
        ("needs-sigterm", None, signal.SIGTERM, "4s"),
        ("deaf", None, signal.SIGKILL, "4s"),
        ("waits", 1, None, "4s"),
    ],
)
def test_an_agent_out_of_time_is_stopped_and_not_restarted(
    timed: Daemon, name: str, code: int | None, number: int | None, limit: str
) -> None:
    agent = timed.wait_state(name, "timed_out", timeout=30)
    assert (agent["exit_code"], agent["exit_signal"]) == (code, number)
    assert f"timed out after {limit}" in (agent["error"] or "")
    assert (agent["running"], agent["pid"], agent["deadline"], agent["next_restart_at"]) == (False, None, None, None)
    assert agent["restarts"] == 0


def test_restarts_do_not_prolong_the_life(timed: Daemon) -> None:
    agent = timed.wait_state("restarts", "timed_out", timeout=30)
    assert agent["restarts"] >= 1
    times = run_times(timed.folder, "restarts")
    assert times[-1] - times[0] < 4.0
    # The time may be over after a restart was begun and before its process could say that it runs.
    assert len(runs(timed.folder, "restarts")) - 1 in (agent["restarts"], agent["restarts"] - 1)


def test_an_agent_that_ended_in_time_keeps_how_it_ended(timed: Daemon) -> None:
    timed.wait_state("deaf", "timed_out", timeout=30)
    agent = timed.wait_state("fails", "failed")
    assert agent["exit_code"] == 1


def test_the_deadline_stands_in_the_status(timed: Daemon) -> None:
    agent = timed.wait_state("in-time", "running")
    assert agent["deadline"] is not None
    assert agent["started_at"] is not None
    life = datetime.fromisoformat(agent["deadline"]) - datetime.fromisoformat(agent["started_at"])
    assert 3590 <= life.total_seconds() <= 3601


def test_nothing_of_an_agent_out_of_time_lives_on_but_the_shell(timed: Daemon) -> None:
    timed.wait_state("deaf", "timed_out", timeout=30)
    launcher = int(timed.tmux("display-message", "-p", "-t", "=deaf:0", "#{pane_pid}"))
    timed.wait_for(lambda: "$" in timed.screen("deaf") or "#" in timed.screen("deaf"), what="a prompt of the shell")
    run = environment_of(launcher)[RUN_ID]
    assert set(of_run(run)) <= {launcher}


def test_the_session_stays_with_its_output_and_a_shell_in_the_workdir(timed: Daemon) -> None:
    timed.wait_state("polite", "timed_out", timeout=30)
    timed.wait_for(lambda: "exit status 7" in timed.screen("polite"))
    assert "interrupted" in timed.screen("polite")
    timed.type("polite", "echo $((6*7)) $PWD $AGENTD_AGENT")
    workdir = os.path.realpath(timed.folder)
    timed.wait_for(lambda: f"42 {workdir} polite" in timed.screen("polite"), what="the shell answers")


def test_a_deadline_stays_where_it_is_over_restarts(daemon: Daemon) -> None:
    start(daemon, counting("a", daemon.folder, "sleep 0.05", restart="always", timeout="1h"))
    first = daemon.wait_for(lambda: (found := daemon.agent("a")) and found["deadline"])
    daemon.wait_for(lambda: (found := daemon.agent("a")) and found["restarts"] >= 3)
    agent = daemon.agent("a")
    assert agent is not None
    assert agent["deadline"] == first


def test_a_timeout_counts_anew_for_a_changed_agent(daemon: Daemon) -> None:
    start(daemon, stay("a", timeout="500ms"))
    daemon.wait_state("a", "timed_out")
    declare(daemon, stay("a", timeout="500ms", restarted_at="now"))
    # It runs for half a second: too short to be sure to see it.
    daemon.wait_for(lambda: kinds(daemon, "a").count("timed_out") == 2, what="it has run out of time again")
    daemon.wait_state("a", "timed_out")
