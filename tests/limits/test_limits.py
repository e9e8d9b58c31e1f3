"""Native agents are held to their limits. What eats is held first: its bounds are read back from the kernel."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.limits.conftest import MEBIBYTE, Limited
from tests.support.thorough import everyday

MEMORY = {"memory": "64MiB"}


def has_ended(process: psutil.Process) -> bool:
    """Whether a process does nothing any more; who waits for it is another matter."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_run_is_held_to_all_its_limits_and_says_so(limited: Limited) -> None:
    limited.declare(a={**MEMORY, "pid_limit": 20, "cpu": 0.5}, free={})
    limited.daemon.start()
    assert limited.held(limited.running("a")) == (64 * MEBIBYTE, 20, 50_000)
    assert int(limited.ask("a", "fork 60")) == 19
    shown = limited.limits("a")
    assert {field: limit["value"] for field, limit in shown.items()} == {
        "memory": 64 * MEBIBYTE,
        "pid_limit": 20,
        "cpu": 0.5,
    }
    assert {limit["enforced_by"] for limit in shown.values()} <= {"cgroup v1", "cgroup v2"}
    assert all(limit["reason"] is None for limit in shown.values())
    limited.daemon.wait_for(lambda: limited.limits("a")["pid_limit"]["peak"] == 20, what="the peak is shown")
    peak = limited.daemon.wait_for(lambda: limited.limits("a")["memory"]["peak"], what="so is that of memory")
    assert peak < 64 * MEBIBYTE
    assert shown["cpu"]["peak"] is None
    # No group, and no cost, where nothing is declared.
    assert limited.folders(limited.running("free")) == {}
    assert limited.daemon.agents()["free"]["limits"] is None


def test_an_agent_that_outgrows_its_memory_ends_with_the_reason_oom(limited: Limited) -> None:
    limited.declare(a=MEMORY)
    limited.daemon.start()
    folders = limited.folders(pid := limited.running("a"))
    assert limited.held(pid)[0] == 64 * MEBIBYTE
    limited.tell("a", "eat 128")
    ended = limited.daemon.wait_state("a", "failed")
    assert (ended["exit_signal"], ended["exit_reason"], ended["oom_kills"]) == (signal.SIGKILL, "oom", 1)
    assert ended["error"] == "oom: the kernel killed it, for lack of memory; ended by signal 9"
    assert limited.limits("a")["memory"]["peak"] == 64 * MEBIBYTE
    exited = limited.event("a", "exited")
    assert [event["kind"] for event in limited.events("a")][-3:] == ["oom", "exited", "failed"]
    assert (exited["data"]["exit_reason"], exited["reason"]) == ("oom", ended["error"])
    # What it started may live on, and is found by its group, until it is stopped.
    limited.declare()
    limited.daemon.wait_gone("a")
    assert not any(folder.exists() for folder in folders.values())


def test_a_child_that_outgrows_the_memory_is_told_of_while_the_agent_lives_on(limited: Limited) -> None:
    limited.declare(a=MEMORY)
    limited.daemon.start("--interval=10m")
    assert limited.held(limited.running("a"))[0] == 64 * MEBIBYTE
    assert int(limited.ask("a", "child 128")) == -signal.SIGKILL
    assert limited.event("a", "oom")["data"]["kills"] == 1
    found = limited.daemon.agent("a")
    assert found is not None
    assert (found["state"], found["oom_kills"], found["exit_reason"]) == ("running", 1, None)
    # What it does about it is its own affair.
    limited.tell("a", "exit 0")
    assert limited.daemon.wait_state("a", "exited")["exit_reason"] is None


@pytest.mark.thorough
def test_an_agent_that_fails_over_its_child_has_the_reason_oom(limited: Limited) -> None:
    limited.declare(a={**MEMORY, "restart": "on-failure", "on_oom": "stop"})
    limited.daemon.start()
    assert limited.held(limited.running("a"))[0] == 64 * MEBIBYTE
    limited.ask("a", "child 128")
    limited.tell("a", "exit 3")
    ended = limited.daemon.wait_state("a", "failed")
    assert (ended["exit_code"], ended["exit_reason"], ended["restarts"]) == (3, "oom", 0)
    assert ended["error"] == "oom: the kernel killed a process of it, for lack of memory; exit status 3"


@pytest.mark.thorough
def test_on_oom_runs_an_agent_again_that_nothing_else_would(limited: Limited) -> None:
    limited.declare(a={**MEMORY, "on_oom": "restart", "restart_delay": "10ms", "max_restarts": 1})
    limited.daemon.start()

    def outgrow(restarts: int) -> None:
        limited.daemon.wait_for(
            lambda: (agent := limited.daemon.agent("a")) and agent["running"] and agent["restarts"] == restarts,
            what=f"it runs, restarted {restarts} times",
        )
        assert limited.held(limited.running("a"))[0] == 64 * MEBIBYTE
        limited.began_again("a")
        limited.tell("a", "eat 128")

    outgrow(0)
    outgrow(1)
    ended = limited.daemon.wait_state("a", "failed")
    assert (ended["restarts"], ended["exit_reason"]) == (1, "oom")
    limited.declare(b={"on_oom": "restart"})
    limited.running("b")
    limited.tell("b", "exit 3")
    assert limited.daemon.wait_state("b", "failed")["exit_reason"] is None


def test_limits_of_a_running_agent_change_in_place(limited: Limited) -> None:
    limited.declare(a={**MEMORY, "pid_limit": 20})
    limited.daemon.start()
    pid = limited.running("a")

    def hold(memory: int, pids: int, cpu: float) -> None:
        limited.declare(a={"memory": f"{memory}MiB", "pid_limit": pids, "cpu": cpu})
        wanted = memory * MEBIBYTE, pids, round(cpu * 100_000)
        limited.daemon.wait_for(lambda: limited.held(pid) == wanted, what="the kernel holds the new limits")
        assert limited.limits("a")["cpu"]["enforced_by"] is not None

    hold(128, 40, 1.5)
    hold(48, 10, 0.25)
    limited.declare(a={})
    limited.daemon.wait_for(lambda: limited.daemon.agents()["a"]["limits"] is None, what="none is declared")
    folder = limited.folders(pid)
    file = folder.get("pids", folder.get("", Path())) / "pids.max"
    limited.daemon.wait_for(lambda: file.read_text().strip() == "max", what="the last one is taken away")
    assert limited.running("a") == pid


def test_the_first_limit_of_a_running_agent_restarts_it(limited: Limited) -> None:
    limited.declare(a={})
    limited.daemon.start()
    pid = limited.running("a")
    limited.declare(a={"pid_limit": 20})
    limited.daemon.wait_for(
        lambda: (agent := limited.daemon.agent("a")) and agent["state"] == "running" and agent["pid"] != pid,
        what="another run",
    )
    assert limited.limits("a")["pid_limit"]["enforced_by"] is not None
    assert limited.event("a", "changed")["data"]["fields"] == ["limits"]


def test_a_process_without_environment_and_parents_is_found(limited: Limited) -> None:
    limited.declare(a={"pid_limit": 20})
    limited.daemon.start()
    limited.running("a")
    hidden = psutil.Process(int(limited.ask("a", "hide")))
    assert hidden.environ() == {}
    limited.declare()
    limited.daemon.wait_gone("a")
    assert has_ended(hidden)


@pytest.mark.thorough
@pytest.mark.parametrize("ends", everyday([False], [True, False]))
def test_a_later_daemon_finds_the_groups_again(limited: Limited, *, ends: bool) -> None:
    limited.declare(a=MEMORY, gone={"pid_limit": 20})
    limited.daemon.start("--on-shutdown=keep")
    pid, other = limited.running("a"), limited.running("gone")
    hidden = psutil.Process(int(limited.ask("gone", "hide")))
    left = limited.folders(other)
    assert int(limited.ask("a", "child 128")) == -signal.SIGKILL
    limited.event("a", "oom")
    limited.daemon.kill()
    if ends:
        limited.declare(a={**MEMORY, "pid_limit": 40})
        # Nothing but its group tells whose the hidden process is.
        launcher = psutil.Process(other).parent()
        assert launcher is not None
        launcher.kill()
        os.kill(other, signal.SIGKILL)
        for path in Path(f"{limited.daemon.tmux_socket}.runs").glob(f"{Path(next(iter(left.values()))).name}.*"):
            path.unlink()
    limited.daemon.start("--on-shutdown=keep")
    assert limited.running("a") == pid
    assert limited.limits("a")["memory"]["enforced_by"] is not None
    if ends:
        limited.daemon.wait_for(lambda: limited.held(pid)[1] == 40, what="the later daemon changes the group")
        limited.daemon.wait_for(lambda: has_ended(hidden), what="what is left of the dead run is ended")
        assert not any(folder.exists() for folder in left.values())
    # The kill that was told of is told of once.
    assert limited.event("a", "oom")["data"]["kills"] == 1
    assert limited.daemon.agents()["a"]["oom_kills"] == 1
    limited.declare()
    for name in ("a", "gone"):
        limited.daemon.wait_gone(name)
    assert has_ended(hidden)
    limited.daemon.restart("--on-shutdown=stop")


@pytest.mark.thorough
def test_a_daemon_killed_while_runs_wait_for_their_groups_leaves_each_one_run_and_its_limits(limited: Limited) -> None:
    names = [f"a{number}" for number in range(8)]
    limited.declare(**{name: {"pid_limit": 20} for name in names})
    runs = Path(f"{limited.daemon.tmux_socket}.runs")
    for at_least in (1, 4):
        limited.daemon.start(ready=False)
        limited.daemon.wait_for(
            lambda at_least=at_least: len(list(runs.glob("*.go"))) >= at_least or len(limited.daemon.sessions()) > 8,  # type: ignore[misc]
            what="runs are about to begin",
        )
        limited.daemon.kill()
    limited.daemon.start()
    for name in names:
        assert limited.held(limited.running(name))[1] == 20
        assert limited.limits(name)["pid_limit"]["enforced_by"] is not None
    assert len({limited.running(name) for name in names}) == len(names)
    limited.daemon.wait_for(lambda: not list(runs.glob("*.go")), what="no run waits, and nothing of one is left")


def test_an_agent_that_is_stopped_while_it_waits_ends(limited: Limited) -> None:
    limited.declare(a={"pid_limit": 20, "grace_period": "100ms"})
    limited.daemon.start()
    first = limited.running("a")
    for command in (["sleep", "1"], ["sleep", "2"], ["sleep", "3"]):
        limited.declare(a={"pid_limit": 20, "grace_period": "100ms", "command": command})
    limited.declare()
    limited.daemon.wait_gone("a")
    assert not psutil.pid_exists(first) or has_ended(psutil.Process(first))
