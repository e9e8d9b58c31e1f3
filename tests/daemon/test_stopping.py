"""The graceful stop: C-c, SIGTERM at half of the grace period, SIGKILL of everything at its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.daemon.support import (
    RUN_ID,
    another_run,
    bad,
    counting,
    declare,
    environment_of,
    lines,
    of_run,
    own_home,
    running,
    runs,
    script,
    start,
    stay,
)
from tests.support.daemon import Daemon
from tests.support.processes import alive, wait_until_gone
from tests.support.waiting import wait_for_file

LONG = "10m"
"""A grace period that no test waits for."""


def off(*agents: dict[str, object]) -> list[dict[str, object]]:
    """Declare them, but not to run; how they ended stays in the status."""
    return [{**agent, "enabled": False} for agent in agents]


def test_an_agent_that_obeys_ends_its_stop_at_once(daemon: Daemon) -> None:
    agents = [
        stay("sleeps", grace_period=LONG),
        bad("answers", "--on-int=3:0.2", "--forever", grace_period=LONG),
        script("has-children", "sleep 600 & sleep 600 & wait", grace_period=LONG),
    ]
    start(daemon, *agents)
    before = running(daemon, "sleeps", "answers", "has-children")
    run = environment_of(before["has-children"])[RUN_ID]
    daemon.wait_for(lambda: len(of_run(run)) == 3, what="the children run")
    daemon.wait_for(lambda: "SIGINT" in signals_caught(before["answers"]))
    declare(daemon, *off(*agents))
    ended = {name: daemon.wait_state(name, "disabled") for name in before}
    assert (ended["sleeps"]["exit_code"], ended["sleeps"]["exit_signal"]) == (None, signal.SIGINT)
    assert (ended["answers"]["exit_code"], ended["answers"]["exit_signal"]) == (3, None)
    assert not any(map(alive, before.values()))
    daemon.wait_for(lambda: not of_run(run), what="the children are gone")
    daemon.wait_for(lambda: not before.keys() & set(daemon.sessions()), what="the sessions are closed")


def signals_caught(pid: int) -> set[str]:
    """Name the signals a process has handlers for."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    mask = int(status["SigCgt"], 16)
    return {number.name for number in signal.Signals if mask >> (number - 1) & 1}


def test_the_order_is_interrupt_then_sigterm_at_half_then_sigkill(daemon: Daemon) -> None:
    log = daemon.folder / "signals"
    note = "".join(f"trap 'echo {name} $(date +%s.%N) >>{log}' {name}; " for name in ("INT", "TERM"))
    agent = script("a", f"{note} echo ready >>{log}; while :; do sleep 0.05; done", grace_period="2s")
    start(daemon, agent)
    wait_for_file(log)
    pid = running(daemon, "a")["a"]
    declare(daemon, *off(agent))
    assert daemon.wait_state("a", "disabled")["exit_signal"] == signal.SIGKILL
    assert not alive(pid)
    heard = [line.split() for line in lines(log)[1:]]
    assert [name for name, _ in heard] == ["INT", "TERM"]
    # A second after it was sent the first; on a loaded machine that one may be heard late.
    assert float(heard[1][1]) - float(heard[0][1]) >= 0.5


def test_nothing_that_a_deaf_agent_started_survives_its_stop(daemon: Daemon) -> None:
    agents = []
    for name, ignored in (("deaf", "INT,TERM"), ("deafer", "INT,TERM,HUP")):
        files = ("--pids-file", daemon.folder / f"{name}.hidden", "--ready", daemon.folder / f"{name}.ready")
        agents.append(bad(name, "--ignore", ignored, "--grandchildren=4", *files, "--forever", grace_period="600ms"))
    start(daemon, *agents)
    found = running(daemon, "deaf", "deafer")
    runs_of = {name: environment_of(pid)[RUN_ID] for name, pid in found.items()}
    hidden = {}
    for name, pid in found.items():
        wait_for_file(daemon.folder / f"{name}.ready")
        hidden[name] = [pid, *map(int, lines(daemon.folder / f"{name}.hidden"))]
        assert set(of_run(runs_of[name])) >= set(hidden[name])
    declare(daemon, *off(*agents))
    for name in found:
        assert daemon.wait_state(name, "disabled")["exit_signal"] == signal.SIGKILL
        assert not any(map(alive, hidden[name]))
        assert of_run(runs_of[name]) == []


def test_an_obedient_agents_hidden_children_do_not_survive_it(daemon: Daemon) -> None:
    ready, grandchildren = daemon.folder / "ready", daemon.folder / "grandchildren"
    options = ("--on-int=0", "--grandchildren", 3, "--pids-file", grandchildren, "--ready", ready, "--forever")
    start(daemon, bad("a", *options, grace_period=LONG))
    wait_for_file(ready)
    running(daemon, "a")
    declare(daemon)
    daemon.wait_gone("a")
    wait_until_gone(map(int, lines(grandchildren)))


@pytest.mark.thorough
def test_what_hides_from_a_look_at_environments_or_is_started_by_the_stop_is_ended_too(daemon: Daemon) -> None:
    pid_file, late = daemon.folder / "pid", daemon.folder / "late"
    hides = f"env -i setsid sh -c 'echo $$ >{pid_file}; exec sleep 601' & while :; do sleep 0.05; done"
    answers = f"trap 'setsid sleep 602 & echo $! >{late}; exit 0' INT; while :; do sleep 0.05; done"
    start(daemon, script("hides", hides, grace_period="1s"), script("answers", answers), stay("z"))
    found = running(daemon, "hides", "answers")
    run = environment_of(found["answers"])[RUN_ID]
    daemon.wait_for(lambda: lines(pid_file))
    daemon.wait_for(lambda: "SIGINT" in signals_caught(found["answers"]))
    declare(daemon, stay("z"))
    for name in ("hides", "answers"):
        daemon.wait_gone(name)
    wait_until_gone([int(lines(path)[0]) for path in (pid_file, late)])
    assert of_run(run) == []


def test_what_an_agent_started_is_gone_before_its_next_run(daemon: Daemon) -> None:
    def agents(**fields: object) -> list[dict[str, object]]:
        made = []
        for name, end in (("exits", ["--exit=1"]), ("crashes", ["--die=11"]), ("changes", ["--forever"])):
            lock, count = daemon.folder / f"{name}.lock", daemon.folder / f"{name}.runs"
            options: list[str | Path] = ["--only-one", lock, "--runs", count, "--grandchildren=2", *end]
            policy = {"restart": "always", "max_restarts": 4, "restart_delay": "1ms", "grace_period": "300ms"}
            more = fields if name == "changes" else {}
            made.append(bad(name, *options, **policy, **more))
        return made

    start(daemon, *agents())
    pid = running(daemon, "changes")["changes"]
    for number in range(3):
        declare(daemon, *agents(env={"NUMBER": str(number)}))
        pid = another_run(daemon, "changes", pid)
    for name in ("exits", "crashes"):
        daemon.wait_state(name, "exited", "failed", timeout=30)
        assert len(runs(daemon.folder, name)) == 5
    assert not list(daemon.folder.glob("*.overlap"))


def test_stopping_one_agent_does_not_delay_another(daemon: Daemon) -> None:
    ready = daemon.folder / "ready"
    deaf = bad("deaf", "--ignore=INT,TERM", "--forever", "--ready", ready, grace_period="20s")
    start(daemon, deaf, stay("quick"), stay("changes"))
    wait_for_file(ready)
    before = running(daemon, "deaf", "quick", "changes")
    declare(daemon, stay("changes", env={"A": "1"}), stay("new"))
    daemon.wait_gone("quick")
    another_run(daemon, "changes", before["changes"])
    running(daemon, "new")
    agent = daemon.agent("deaf")
    assert agent is not None
    assert (agent["state"], agent["running"], agent["pid"]) == ("stopping", True, before["deaf"])
    daemon.signal(signal.SIGTERM)
    # Two signals at once may reach a process as one.
    daemon.wait_for(lambda: daemon.health()["state"] == "stopping")
    assert daemon.stop() == 0


@pytest.mark.thorough
def test_an_agent_declared_again_during_its_stop_comes_back_once_it_has_ended(daemon: Daemon) -> None:
    ready, lock, count = (daemon.folder / name for name in ("ready", "lock", "back.runs"))
    options = ("--ignore=INT", "--only-one", lock, "--runs", count, "--ready", ready, "--forever")
    agent = bad("back", *options, grace_period="2s")
    start(daemon, agent)
    wait_for_file(ready)
    pid = running(daemon, "back")["back"]
    declare(daemon)
    daemon.wait_state("back", "stopping")
    declare(daemon, agent)
    another_run(daemon, "back", pid)
    assert not alive(pid)
    daemon.wait_for(lambda: len(runs(daemon.folder, "back")) == 2)
    assert not Path(f"{lock}.overlap").exists()


@pytest.mark.thorough
def test_a_change_taken_back_during_the_stop_leaves_one_run(daemon: Daemon) -> None:
    ready, lock = daemon.folder / "ready", daemon.folder / "lock"
    agent = bad("a", "--ignore=INT", "--only-one", lock, "--ready", ready, "--forever", grace_period="1s")
    start(daemon, agent)
    wait_for_file(ready)
    pid = running(daemon, "a")["a"]
    declare(daemon, {**agent, "env": {"A": "1"}})
    daemon.wait_state("a", "stopping")
    declare(daemon, agent)
    fresh = another_run(daemon, "a", pid)
    assert "A" not in environment_of(fresh)
    assert not Path(f"{lock}.overlap").exists()


@pytest.mark.thorough
def test_a_stop_reaches_an_agent_that_an_operator_left_in_an_odd_state(daemon: Daemon) -> None:
    agents = [
        stay("copy-mode", grace_period=LONG),
        stay("SIGSTOP", grace_period="1s"),
        stay("SIGTTIN", grace_period="1s"),
    ]
    start(daemon, *agents, stay("z"))
    before = running(daemon, *(str(agent["name"]) for agent in agents))
    daemon.tmux("copy-mode", "-t", "=copy-mode:0")
    for name in ("SIGSTOP", "SIGTTIN"):
        os.kill(before[name], signal.Signals[name])
    declare(daemon, stay("z"))
    for name, pid in before.items():
        daemon.wait_gone(name)
        assert not alive(pid)


def test_without_a_grace_period_it_is_killed_at_once(daemon: Daemon) -> None:
    agent = stay("a", grace_period="0s")
    start(daemon, agent)
    running(daemon, "a")
    declare(daemon, *off(agent))
    assert daemon.wait_state("a", "disabled")["exit_signal"] == signal.SIGKILL


def test_an_agent_in_back_off_is_removed_at_once(daemon: Daemon) -> None:
    start(daemon, counting("a", daemon.folder, "exit 1", restart="always", restart_delay="1h"))
    daemon.wait_state("a", "backoff")
    declare(daemon)
    daemon.wait_gone("a")
    assert "a" not in daemon.sessions()


@pytest.mark.thorough
def test_what_was_started_in_the_shell_of_an_ended_agent_goes_with_it(daemon: Daemon, short_folder: Path) -> None:
    start(daemon, stay("a", command=["true"], **own_home(daemon)))
    daemon.wait_state("a", "exited")
    pid_file = short_folder / "pid"
    daemon.wait_for(lambda: "This is a shell" in daemon.screen("a"))
    daemon.type("a", f"setsid sh -c 'echo $$ >{pid_file}.part; mv {pid_file}.part {pid_file}; exec sleep 600' &")
    daemon.wait_for(pid_file.exists, what="the shell started it")
    pid = int(pid_file.read_text())
    declare(daemon)
    daemon.wait_gone("a")
    wait_until_gone([pid])
