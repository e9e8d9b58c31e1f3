"""tmux under our feet: sessions closed, renamed and broken up, the server killed, the connection cut."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from pathlib import Path

import psutil
import pytest

from tests.daemon.support import another_run, bad, counting, declare, lines, pids, running, runs, settled, start, stay
from tests.support.daemon import Daemon
from tests.support.processes import alive, children_named, wait_until_gone
from tests.support.thorough import everyday
from tests.support.waiting import wait_for_file

SOON = "--interval=500ms"
NOT_WAITED_FOR = 1.0
"""Seconds that a launcher is given to say that its run's output has ended; one whose pane is gone is given none."""


def control_client(daemon: Daemon) -> psutil.Process:
    """Find the daemon's own tmux client."""
    (client,) = children_named(daemon.pid, "tmux")
    return client


def test_an_agent_whose_session_is_closed_follows_its_policy(daemon: Daemon) -> None:
    ways = ("kill-session", "kill-pane", "kill-window")
    names = [f"{way}-{restart}" for way in ways for restart in ("no", "always")]
    start(daemon, stay("z"), *(stay(name, restart=name.rpartition("-")[2], restart_delay="10ms") for name in names))
    before = running(daemon, "z", *names)
    took = []
    for name in names:
        begun = time.monotonic()
        way = name.rpartition("-")[0]
        daemon.tmux(way, "-t", f"={name}" if way == "kill-session" else f"={name}:0")
        wait_until_gone([before[name]])
        if name.endswith("-always"):
            another_run(daemon, name, before[name])
            took.append(time.monotonic() - begun)
            assert daemon.agents()[name]["restarts"] == 1
            assert daemon.sessions().count(name) == 1
        else:
            assert daemon.wait_state(name, "failed")["error"]
            assert name not in daemon.sessions()
    assert pids(daemon)["z"] == before["z"]
    # The best of several: the machine may be loaded.
    assert min(took) < NOT_WAITED_FOR, took


SLOW = """#!/bin/sh
case " $* " in *" -C "*) ;; *) exec {tmux} "$@" ;; esac
mkfifo "$0.$$"
while IFS= read -r line; do [ ! -e "$0.slow" ] || sleep 0.1; printf '%s\\n' "$line"; done <"$0.$$" &
exec {tmux} "$@" >"$0.$$"
"""
"""A tmux whose answers come late, 0.1 s each line, once a file is there."""


def slow_tmux(daemon: Daemon) -> Path:
    tmux = daemon.bin / "tmux"
    tmux.write_text(SLOW.format(tmux=shutil.which("tmux")))
    tmux.chmod(0o755)
    return tmux


@pytest.mark.parametrize("command", everyday([["true"]], [["sleep", "600"], ["true"]]), ids=["stays", "ends at once"])
def test_an_agent_is_shown_to_run_with_its_pane_even_if_tmux_answers_late(daemon: Daemon, command: list[str]) -> None:
    """Whoever waits for it to run sends to it next, and needs the pane."""
    tmux = slow_tmux(daemon)
    start(daemon, stay("other"))
    running(daemon, "other")
    tmux.with_name("tmux.slow").touch()
    declare(daemon, stay("other"), {"name": "a", "command": command})
    shown = daemon.wait_for(
        lambda: agent if (agent := daemon.agent("a")) and agent["state"] in ("running", "exited") else None
    )
    tmux.with_name("tmux.slow").unlink()
    assert shown["pane"] is not None
    daemon.wait_state("a", "running" if command[0] == "sleep" else "exited")


@pytest.mark.thorough
def test_an_agent_whose_pane_is_opened_during_a_look_at_all_panes_is_left_alone(daemon: Daemon) -> None:
    """Each look at these tries to give a session its name back, and waits for tmux a second time."""
    tmux = slow_tmux(daemon)
    start(daemon, stay("a"), flags=[SOON])
    running(daemon, "a")
    daemon.tmux("rename-session", "-t", "=a", "mine", ";", "new-session", "-d", "-s", "a", "sleep 601")
    tmux.with_name("tmux.slow").touch()
    for number in range(4):
        declare(daemon, stay("a"), *(stay(f"n{each}") for each in range(number + 1)))
        daemon.wait_state(f"n{number}", "running", "failed")
    tmux.with_name("tmux.slow").unlink()
    assert {agent["error"] for agent in daemon.agents().values()} == {None}
    assert running(daemon, *daemon.agents())


@pytest.mark.thorough
def test_an_agent_whose_pane_is_given_another_program_says_so(daemon: Daemon) -> None:
    late = {"restart": "always", "restart_delay": "1h", "restart_delay_max": "1h"}
    start(daemon, stay("ends"), stay("waits", **late), stay("closed"))
    running(daemon, "ends", "waits", "closed")
    for name, state in (("ends", "failed"), ("waits", "backoff")):
        daemon.tmux("respawn-pane", "-k", "-t", f"={name}:0", "sleep 600")
        pane, _, pid = daemon.tmux("display-message", "-p", "-t", f"={name}:", "#{pane_id} #{pane_pid}").partition(" ")
        error = f"its pane {pane} was given another program (pid {pid})"
        assert error in str(daemon.wait_state(name, state)["error"])
        daemon.wait_for(lambda error=error: error in daemon.request("GET", "/v1/events").body.decode(), what=error)  # type: ignore[misc]
    daemon.tmux("kill-session", "-t", "=closed")
    assert "its tmux session was closed" in str(daemon.wait_state("closed", "failed")["error"])
    # The pane is the agent's all the same: its next run takes it.
    declare(daemon, stay("ends", env={"AGAIN": "1"}), stay("waits", **late), stay("closed"))
    running(daemon, "ends")
    assert daemon.sessions().count("ends") == 1


def test_nothing_of_an_agent_whose_session_is_closed_lives_on(daemon: Daemon) -> None:
    ready, hidden, lock = (daemon.folder / name for name in ("ready", "hidden", "lock"))
    options = ("--ignore=HUP,INT,TERM", "--grandchildren=3", "--only-one", lock, "--pids-file", hidden, "--forever")
    agent = bad("a", *options, "--ready", ready, grace_period="600ms", restart="always", restart_delay="10ms")
    start(daemon, agent)
    wait_for_file(ready)
    before = running(daemon, "a")
    former = [int(line) for line in lines(hidden)]
    daemon.tmux("kill-session", "-t", "=a")
    another_run(daemon, "a", before["a"])
    wait_until_gone([before["a"], *former])
    assert not list(daemon.folder.glob("*.overlap"))


def test_a_renamed_session_gets_its_name_back_and_the_agent_is_left_alone(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"), flags=[SOON])
    before = running(daemon, "a", "b")
    daemon.tmux("rename-session", "-t", "=a", "mine")
    daemon.wait_for(lambda: "a" in daemon.sessions() and "mine" not in daemon.sessions())
    assert pids(daemon) == before
    declare(daemon, stay("b"))
    daemon.wait_gone("a")
    assert not {"a", "mine"} & set(daemon.sessions())


@pytest.mark.thorough
def test_a_renamed_session_whose_name_was_taken_is_still_the_agents(daemon: Daemon) -> None:
    start(daemon, stay("a"), flags=[SOON])
    before = running(daemon, "a")
    daemon.tmux("rename-session", "-t", "=a", "mine", ";", "new-session", "-d", "-s", "a", "sleep 601")
    settled(daemon, stay("a"))
    settled(daemon, stay("a"))
    assert pids(daemon)["a"] == before["a"]
    declare(daemon)
    daemon.wait_gone("a")
    assert not alive(before["a"])
    assert "a" in daemon.sessions()
    assert "mine" not in daemon.sessions()


@pytest.mark.thorough
def test_a_moved_pane_is_still_the_agents(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"), flags=[SOON])
    before = running(daemon, "a", "b")
    daemon.tmux("move-window", "-s", "=a:0", "-t", "=b:5")
    settled(daemon, stay("a"), stay("b"))
    agents = daemon.agents()
    assert agents["b"]["pid"] == before["b"]
    running(daemon, "a")
    names = daemon.tmux("list-panes", "-a", "-F", "#{session_name}").splitlines()
    for _ in range(3):
        settled(daemon, stay("a"), stay("b"))
        assert daemon.tmux("list-panes", "-a", "-F", "#{session_name}").splitlines()[:3] == names[:3]
    # tmux 3.3a crashes when two windows of one session are closed at the same time.
    declare(daemon, stay("b"))
    daemon.wait_gone("a")
    declare(daemon)
    daemon.wait_gone("b")
    wait_until_gone(before.values())


@pytest.mark.thorough
def test_a_tmux_server_that_dies_while_sessions_are_closed_holds_nothing_up(daemon: Daemon) -> None:
    for _ in range(3):
        start(daemon, *(stay(f"a{n}") for n in range(10)))
        running(daemon, *(f"a{n}" for n in range(10)))
        server = daemon.tmux_pid()
        assert server is not None
        declare(daemon, stay("b"))
        daemon.wait_for(lambda: len(daemon.agents()) < 11 or daemon.agents()["a0"]["state"] == "stopping")
        os.kill(server, signal.SIGKILL)
        running(daemon, "b")
        for n in range(10):
            daemon.wait_gone(f"a{n}")
        assert daemon.stop() == 0


def test_agents_that_die_with_the_tmux_server_follow_their_policy_and_say_why(daemon: Daemon) -> None:
    ready, hidden, lock = (daemon.folder / name for name in ("ready", "hidden", "lock"))
    options = ("--ignore=HUP,INT,TERM", "--grandchildren=2", "--only-one", lock, "--pids-file", hidden, "--forever")
    deaf = bad("deaf", *options, "--ready", ready, grace_period="600ms", restart="always", restart_delay="10ms")
    agents = [
        deaf,
        stay("always", restart="always", restart_delay="10ms"),
        stay("on-failure", restart="on-failure", restart_delay="10ms"),
        stay("no"),
        counting("done", daemon.folder, "exit 0"),
        counting("waits", daemon.folder, "exit 1", restart="always", restart_delay="1h", restart_delay_max="1h"),
    ]
    start(daemon, *agents)
    wait_for_file(ready)
    before = running(daemon, "deaf", "always", "on-failure", "no")
    daemon.wait_state("done", "exited")
    daemon.wait_state("waits", "backoff")
    former = [int(line) for line in lines(hidden)]
    server = daemon.tmux_pid()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    for name in ("deaf", "always", "on-failure"):
        another_run(daemon, name, before[name])
    assert daemon.wait_state("no", "failed")["error"]
    assert "tmux_server_died" in daemon.log_text()
    wait_until_gone([*before.values(), *former])
    assert not list(daemon.folder.glob("*.overlap"))
    after = daemon.agents()
    restarts = [after[name]["restarts"] for name in ("deaf", "always", "on-failure", "no")]
    assert restarts == [1, 1, 1, 0], daemon.explain()
    assert (after["done"]["state"], after["waits"]["state"]) == ("exited", "backoff")
    assert [len(runs(daemon.folder, name)) for name in ("done", "waits")] == [1, 1]
    assert stat.S_IMODE(daemon.tmux_socket.stat().st_mode) == 0o770
    # And it is all there again: a change, a stop, a session to look into.
    settled(daemon, *agents)
    assert {"deaf", "always", "on-failure"} <= set(daemon.sessions())


@pytest.mark.thorough
def test_the_tmux_server_may_die_again_and_again(daemon: Daemon) -> None:
    count = 10
    agents = [stay(f"a{n}", restart="always", restart_delay="10ms", restart_delay_max="50ms") for n in range(count)]
    start(daemon, *agents)
    names = [f"a{n}" for n in range(count)]
    former = running(daemon, *names)
    for _ in range(3):
        server = daemon.tmux_pid()
        assert server is not None
        os.kill(server, signal.SIGKILL)
        wait_until_gone(former.values())
        former = {name: another_run(daemon, name, former[name]) for name in names}
    assert sorted(set(daemon.sessions()) - {"_agentd"}) == sorted(names)


def test_the_daemon_connects_anew_when_its_client_is_killed(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    for number in (signal.SIGKILL, signal.SIGTERM):
        client = control_client(daemon)
        client.send_signal(number)
        wait_until_gone([client.pid])
        settled(daemon, stay("a"))
        assert pids(daemon)["a"] == before["a"]


@pytest.mark.thorough
def test_a_client_that_is_suspended_holds_things_up_but_loses_nothing(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b", restart="always", restart_delay="10ms"))
    before = running(daemon, "a", "b")
    client = control_client(daemon)
    client.suspend()
    os.kill(before["b"], signal.SIGKILL)
    declare(daemon, stay("a"), stay("b", restart="always", restart_delay="10ms"), stay("c"))
    # The API answers meanwhile, and the exit is noticed without tmux.
    daemon.wait_for(lambda: (found := daemon.agent("b")) and found["exit_signal"] == signal.SIGKILL)
    daemon.wait_for(lambda: "c" in daemon.agents())
    client.resume()
    running(daemon, "c")
    another_run(daemon, "b", before["b"])
    assert pids(daemon)["a"] == before["a"]


@pytest.mark.thorough
def test_a_suspended_tmux_server_holds_things_up_but_loses_nothing(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    server = daemon.tmux_pid()
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        declare(daemon, stay("a"), stay("c"))
        daemon.wait_for(lambda: "c" in daemon.agents())
        assert daemon.agents()["a"]["state"] == "running"
    finally:
        os.kill(server, signal.SIGCONT)
    running(daemon, "c")
    assert pids(daemon)["a"] == before["a"]


@pytest.mark.thorough
def test_operators_who_close_the_daemons_own_session_do_no_harm(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b", restart="always"))
    before = running(daemon, "a", "b")
    own = [name for name in daemon.sessions() if name not in ("a", "b")]
    for name in own:
        daemon.tmux("kill-session", "-t", f"={name}", check=False)
    settled(daemon, stay("a"), stay("b", restart="always"))
    assert pids(daemon).items() >= before.items()


def test_the_socket_file_may_be_removed_without_harm_to_the_agents(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    daemon.tmux_socket.unlink()
    settled(daemon, stay("a"))
    assert pids(daemon)["a"] == before["a"]
    server = psutil.Process(before["a"]).parents()[1].pid
    os.kill(server, signal.SIGUSR1)  # tmux makes its socket anew
    daemon.wait_for(lambda: daemon.tmux_pid() == server)
