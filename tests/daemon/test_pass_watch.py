"""The watchdog of the control loop: an agentd that answers but does nothing says so."""

from __future__ import annotations

import os
import re
import signal

import psutil
import pytest

from agentd.cli.agentctl.client import ANSWER_LIMIT
from agentd.daemon.pass_watch import LONGEST_PASS, PassWatch
from tests.cli.support import Client
from tests.daemon.support import declare, running, start, stay
from tests.support.daemon import Daemon

SOON = "--interval=500ms"


class Moment:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pass_that_does_not_end_is_a_problem_once_it_is_too_long() -> None:
    clock = Moment()
    watch = PassWatch(clock)
    watch.begin()
    watch.does("looks at tmux")
    clock.now += LONGEST_PASS - 0.1
    assert watch.problem() is None
    clock.now += 2.6
    assert watch.problem() == "a pass has not ended for 12s, it looks at tmux: no change of the files takes effect"
    watch.end(clock.now + 5.0)
    assert watch.problem() is None


def test_a_pass_that_does_not_begin_is_a_problem_too() -> None:
    clock = Moment()
    watch = PassWatch(clock)
    watch.begin()
    watch.end(clock.now + 60.0)
    clock.now += 60.0 + LONGEST_PASS - 0.1
    assert watch.problem() is None
    clock.now += 0.1
    assert watch.problem() == "the next pass should have begun 10s ago: no change of the files takes effect"
    watch.begin()
    assert watch.problem() is None


def agentctl(daemon: Daemon) -> Client:
    environment = daemon.environment()
    return Client(daemon.folder, {**daemon.places, "HOME": environment["HOME"], "PATH": environment["PATH"]})


@pytest.mark.thorough
def test_an_agentd_whose_pass_waits_for_tmux_is_not_well_until_it_goes_on(daemon: Daemon) -> None:
    client = agentctl(daemon)
    start(daemon, stay("a"), flags=[SOON])
    pid = running(daemon, "a")["a"]
    assert daemon.health()["problem"] is None
    server = daemon.tmux_pid()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        problem = daemon.wait_for(lambda: daemon.health()["problem"], timeout=LONGEST_PASS + 10, what="health says so")
        assert re.search(r"a pass has not ended for \d+s, it reads the files and looks at tmux", problem)
        done = client("status")
        assert (done.status, len(done.rows)) == (1, 1)
        assert "a pass has not ended for" in done.err
        assert client("status", "--json").status == 1
        assert client("status", "a").status == 0
    finally:
        os.kill(server, signal.SIGCONT)
    daemon.wait_for(lambda: daemon.health()["problem"] is None, what="it goes on")
    assert client("status").status == 0
    declare(daemon, stay("a"), stay("b"))
    running(daemon, "b")
    assert daemon.wait_state("a", "running")["pid"] == pid
    assert "pass_took_long" in daemon.log_text()


@pytest.mark.thorough
def test_an_agentd_whose_loop_does_not_turn_is_not_well(daemon: Daemon) -> None:
    client = agentctl(daemon)
    start(daemon, stay("a"))
    running(daemon, "a")
    daemon.signal(signal.SIGSTOP)
    try:
        daemon.wait_for(lambda: psutil.Process(daemon.pid).status() == psutil.STATUS_STOPPED)
        done = client("status")
        assert done.status == 3
        assert f"no answer within {ANSWER_LIMIT:.0f} s" in done.err
        done = client("doctor")
        assert done.status == 1
        assert f"no answer within {ANSWER_LIMIT:.0f} s" in done.out
    finally:
        daemon.signal(signal.SIGCONT)
    assert client("status").status == 0
