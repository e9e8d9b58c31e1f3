"""The end of the daemon: everything gone, at once on a second signal, or everything kept."""

from __future__ import annotations

import random
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.support import bad, declare, pids, running, start, stay
from tests.support.daemon import Daemon
from tests.support.processes import alive, wait_until_gone
from tests.support.thorough import everyday
from tests.support.waiting import wait_for, wait_for_file

DEAF = ("--ignore", "INT,TERM,HUP", "--grandchildren", 2, "--forever")
"""Options of an agent that only SIGKILL ends, and that hides what it starts."""


def nothing_left(daemon: Daemon) -> None:
    assert daemon.left_behind() == []
    assert list(daemon.runtime.iterdir()) == []


@pytest.mark.parametrize("number", everyday([signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]))
def test_a_signal_ends_everything_with_status_0(daemon: Daemon, number: int) -> None:
    ready = daemon.folder / "ready"
    start(
        daemon,
        *(stay(f"obeys-{index}") for index in range(3)),
        bad("deaf", *DEAF, "--ready", ready, grace_period="600ms"),
        stay("done", command=["true"]),
        stay("broken", command=["no-such-program"]),
        stay("waits", command=["false"], restart="always", restart_delay="1h", restart_delay_max="1h"),
        stay("off", enabled=False),
    )
    running(daemon, "obeys-0", "obeys-1", "obeys-2", "deaf")
    daemon.wait_state("waits", "backoff")
    daemon.wait_state("done", "exited")
    daemon.tmux("new-session", "-d", "-s", "operator", "sleep 600")
    wait_for_file(ready)
    assert daemon.stop(number=number) == 0
    nothing_left(daemon)


def test_agents_are_stopped_in_parallel(daemon: Daemon) -> None:
    names = [f"a{number}" for number in range(8)]
    deaf = [
        bad(name, "--ignore=INT", "--forever", "--ready", daemon.folder / name, grace_period="4s") for name in names
    ]
    start(daemon, *deaf)
    for name in names:
        wait_for_file(daemon.folder / name)
    running(daemon, *names)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for(lambda: {agent["state"] for agent in daemon.agents().values()} == {"stopping"})
    assert len(daemon.agents()) == len(names)
    assert daemon.wait_exit() == 0
    nothing_left(daemon)


def test_a_second_signal_stops_at_once(daemon: Daemon) -> None:
    ready, grandchildren = daemon.folder / "ready", daemon.folder / "grandchildren"
    start(daemon, bad("deaf", *DEAF, "--pids-file", grandchildren, "--ready", ready, grace_period="10m"))
    wait_for_file(ready)
    running(daemon, "deaf")
    daemon.signal(signal.SIGTERM)
    daemon.wait_state("deaf", "stopping")
    assert daemon.health()["state"] == "stopping"
    assert daemon.stop() == 0
    wait_until_gone([int(line) for line in grandchildren.read_text().split()])
    nothing_left(daemon)


def test_two_signals_in_a_row_are_two(daemon: Daemon) -> None:
    ready = daemon.folder / "ready"
    start(daemon, bad("deaf", *DEAF, "--ready", ready, grace_period="10m"))
    wait_for_file(ready)
    running(daemon, "deaf")
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGINT)
    assert daemon.wait_exit() == 0
    nothing_left(daemon)


def test_keep_leaves_the_agents_to_the_next_daemon(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"), flags=["--on-shutdown=keep"])
    before = running(daemon, "a", "b")
    assert daemon.stop() == 0
    assert not daemon.api_socket.exists()
    assert all(map(alive, before.values()))
    assert {"a", "b"} <= set(daemon.sessions())
    daemon.start("--on-shutdown=stop")
    assert running(daemon, "a", "b") == before
    assert daemon.stop() == 0
    nothing_left(daemon)


def test_the_end_waits_for_what_ends_with_its_terminal(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    running(daemon, "a")
    ready = daemon.folder / "ready"
    slow = f"trap 'trap - HUP; sleep 0.4; exit' HUP; touch {ready}; while :; do sleep 0.05; done"
    daemon.tmux("new-session", "-d", "-s", "operator", f"sh -c {shlex.quote(slow)}")
    wait_for_file(ready)
    assert daemon.stop() == 0
    nothing_left(daemon)


def test_a_daemon_told_to_end_while_it_starts_ends_cleanly(daemon_factory: Callable[[], Daemon]) -> None:
    def shows(daemon: Daemon, *paths: Path) -> Callable[[], bool]:
        return lambda: any(path.exists() for path in paths) or not daemon.running

    for stage in ("tmux_socket", "api_socket"):
        daemon = daemon_factory()
        declare(daemon, *(stay(f"a{index}") for index in range(5)))
        daemon.start(ready=False)
        wait_for(shows(daemon, getattr(daemon, stage)))
        daemon.stopped_cleanly = daemon.stop() == 0
        assert daemon.stopped_cleanly
        nothing_left(daemon)


def launched(daemon: Daemon, count: int) -> None:
    daemon.wait_for(lambda: sum(pid is not None for pid in pids(daemon).values()) >= count)


@pytest.mark.thorough
def test_a_daemon_told_to_end_while_it_launches_ends_cleanly(daemon_factory: Callable[[], Daemon]) -> None:
    chance = random.Random(4)
    for _ in range(2):
        daemon = daemon_factory()
        count = 20
        declare(daemon, *(stay(f"a{index}") for index in range(count)))
        daemon.start()
        enough = chance.randrange(count)
        launched(daemon, enough)
        assert daemon.stop() == 0
        nothing_left(daemon)


@pytest.mark.thorough
def test_a_daemon_whose_tmux_server_died_still_ends_cleanly(daemon: Daemon) -> None:
    start(daemon, stay("a"), bad("deaf", *DEAF, grace_period="300ms"))
    running(daemon, "a", "deaf")
    daemon.tmux("kill-server", check=False)
    assert daemon.stop() == 0
    nothing_left(daemon)


@pytest.mark.thorough
def test_a_stopped_daemon_starts_its_agents_anew(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    daemon.restart()
    assert running(daemon, "a") != before
    assert daemon.agents()["a"]["restarts"] == 0
