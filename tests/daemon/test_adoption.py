"""A new daemon takes over what the former one left: nothing is started twice, nothing forgotten."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from datetime import datetime

import pytest

from tests.daemon.support import (
    another_run,
    bad,
    counting,
    declare,
    environment_of,
    lines,
    pids,
    running,
    runs,
    settled,
    start,
    stay,
)
from tests.support.daemon import AgentJson, Daemon
from tests.support.processes import alive, wait_until_gone
from tests.support.thorough import everyday
from tests.support.waiting import wait_for, wait_for_file

KEPT = (
    "name",
    "session",
    "restarts",
    "state",
    "pid",
    "started_at",
    "exit_code",
    "exit_signal",
    "error",
    "deadline",
    "workdir",
    "harness",
)


def kept(agents: dict[str, AgentJson]) -> dict[str, list[object]]:
    return {name: [agent[field] for field in KEPT] for name, agent in agents.items()}  # type: ignore[literal-required]


def until(agent: AgentJson) -> float:
    assert agent["next_restart_at"] is not None
    return datetime.fromisoformat(agent["next_restart_at"]).timestamp()


@pytest.mark.parametrize("end", everyday(["kill"], ["kill", "keep"]))
def test_everything_is_as_it_was(daemon: Daemon, end: str) -> None:
    folder = daemon.folder
    agents = [
        stay("plain"),
        stay("limited", timeout="1h"),
        counting("restarted", folder, 'test "$(wc -l <"$0")" -lt 3 && exit 4; exec sleep 600', restart="on-failure"),
        counting("waits", folder, "exit 5", restart="always", restart_delay="1h", restart_delay_max="1h"),
        counting("done", folder, "exit 0"),
        counting("failed", folder, "exit 6"),
        bad("crashed", "--die=11"),
        stay("late", timeout="2s"),
        stay("broken", command=["no-such-program"]),
        stay("off", enabled=False),
        stay("named", session="other_name"),
    ]
    start(daemon, *agents, flags=["--on-shutdown=keep"])
    expected = {
        "plain": "running", "limited": "running", "restarted": "running", "waits": "backoff", "done": "exited",
        "failed": "failed", "crashed": "failed", "late": "timed_out", "broken": "failed", "off": "disabled",
        "named": "running",
    }  # fmt: skip

    def as_expected() -> bool:
        found = daemon.agents()
        states = {name: agent["state"] for name, agent in found.items()}
        return states == expected and found["restarted"]["restarts"] == 2

    daemon.wait_for(as_expected, 30, what="all agents are where they will stay")
    before = daemon.agents()
    sessions = daemon.sessions()
    if end == "kill":
        daemon.kill()
    else:
        assert daemon.stop() == 0
    daemon.start()
    daemon.wait_for(as_expected, what="all agents are there again")
    after = daemon.agents()
    assert kept(after) == kept(before)
    assert abs(until(after["waits"]) - until(before["waits"])) <= 1
    assert daemon.sessions() == sessions
    assert [len(runs(folder, name)) for name in ("restarted", "waits", "done", "failed")] == [3, 1, 1, 1]


def test_an_exit_during_the_absence_is_noticed_with_its_exact_status(daemon: Daemon) -> None:
    gate = daemon.folder / "gate"
    wait = f"while ! test -e {gate}; do sleep 0.02; done"

    def ends(name: str, then: str, **fields: object) -> dict[str, object]:
        return counting(name, daemon.folder, f"{wait}; {then}", **fields)

    start(
        daemon,
        ends("five", "exit 5"),
        ends("good", "exit 0"),
        ends("segv", "kill -SEGV $$"),
        ends("again", 'test "$(wc -l <"$0")" -ge 2 && exec sleep 600; exit 7', restart="on-failure"),
        ends("spent", "exit 8", restart="always", max_restarts=1),
        stay("killed"),
        stay("lives"),
    )
    before = running(daemon, "five", "good", "segv", "again", "spent", "killed", "lives")
    daemon.kill()
    gate.touch()
    os.kill(before["killed"], signal.SIGKILL)
    wait_until_gone(pid for name, pid in before.items() if name != "lives")
    daemon.start()

    def status(name: str, *states: str) -> tuple[str, int | None, int | None]:
        agent = daemon.wait_state(name, *states)
        return agent["state"], agent["exit_code"], agent["exit_signal"]

    assert status("five", "failed") == ("failed", 5, None)
    assert status("good", "exited") == ("exited", 0, None)
    assert status("segv", "failed") == ("failed", None, signal.SIGSEGV)
    assert status("killed", "failed") == ("failed", None, signal.SIGKILL)
    assert status("again", "running") == ("running", 7, None)
    assert status("spent", "failed") == ("failed", 8, None)
    agents = daemon.agents()
    assert (agents["again"]["restarts"], agents["spent"]["restarts"]) == (1, 1)
    assert agents["lives"]["pid"] == before["lives"]


@pytest.mark.parametrize("year", everyday([1], [-1, 1]))
def test_a_clock_set_wrong_during_the_absence_ends_no_back_off(daemon: Daemon, year: int) -> None:
    gate = daemon.folder / "gate"
    agent = counting("a", daemon.folder, f"while ! test -e {gate}; do sleep 0.02; done; exit 5", restart="always")
    start(daemon, {**agent, "restart_delay": "1h", "restart_delay_max": "1h"})
    pid = running(daemon, "a")["a"]
    daemon.kill()
    gate.touch()
    wait_until_gone([pid])
    (report,) = wait_for(lambda: list(daemon.runtime.glob("*.runs/*.exit")))
    # As seen after the clock was set a year on, or back.
    moment = time.time() - year * 31_557_600
    os.utime(report, (moment, moment))
    daemon.start()
    assert 3000 < until(daemon.wait_state("a", "backoff", "running")) - time.time() <= 3960
    assert len(runs(daemon.folder, "a")) == 1


def test_what_changed_during_the_absence_is_handled_and_the_rest_left_alone(daemon: Daemon) -> None:
    daemon.write_secret("A", "1")
    daemon.write_secret("B", "1")
    both = {"secrets": ["B"]}
    start(
        daemon,
        *(stay(name, **both) for name in ("same", "changed", "removed", "disabled", "policy")),
        stay("secret", secrets=["A"]),
        counting("done", daemon.folder, "exit 0", secrets=[]),
        counting("done-changed", daemon.folder, "exit 0"),
    )
    names = ("same", "changed", "removed", "disabled", "policy", "secret")
    before = running(daemon, *names)
    for name in ("done", "done-changed"):
        daemon.wait_state(name, "exited")
    daemon.kill()
    declare(
        daemon,
        stay("same", **both),
        stay("changed", env={"X": "1"}, **both),
        stay("disabled", enabled=False, **both),
        stay("policy", timeout="1h", restart="always", **both),
        stay("secret", secrets=["A"]),
        stay("new"),
        counting("done", daemon.folder, "exit 0", secrets=[]),
        counting("done-changed", daemon.folder, "exit 0", env={"X": "1"}),
    )
    daemon.write_secret("A", "2")
    daemon.start()
    daemon.wait_gone("removed")
    daemon.wait_state("disabled", "disabled")
    another_run(daemon, "changed", before["changed"])
    fresh = another_run(daemon, "secret", before["secret"])
    assert environment_of(fresh)["A"] == "2"
    running(daemon, "new")
    daemon.wait_for(lambda: len(runs(daemon.folder, "done-changed")) == 2)
    after = daemon.agents()
    assert after["same"]["pid"] == before["same"]
    assert after["policy"]["pid"] == before["policy"]
    assert after["policy"]["deadline"] is not None
    assert not any(alive(before[name]) for name in ("changed", "removed", "disabled", "secret"))
    assert len(runs(daemon.folder, "done")) == 1
    daemon.wait_for(lambda: not {"removed", "disabled"} & set(daemon.sessions()))


def test_without_a_usable_jcard_the_agents_run_on_and_the_next_good_one_decides(daemon: Daemon) -> None:
    gate = daemon.folder / "gate"
    restarts = counting(
        "restarts", daemon.folder, f"while ! test -e {gate}; do sleep 0.02; done; sleep 0.1; exit 1", restart="always"
    )
    start(daemon, stay("a"), stay("b"), restarts)
    before = running(daemon, "a", "b", "restarts")
    for content in ("", None, "[[agents]"):
        daemon.kill()
        if content is None:
            daemon.jcard.unlink()
        else:
            daemon.jcard.write_text(content)
        daemon.start()
        assert daemon.wait_for(lambda: pids(daemon) == before, what="the agents are known, from tmux alone")
        assert not daemon.health()["config"]["valid"]
    # An agent that ends meanwhile can only wait.
    gate.touch()
    daemon.wait_state("restarts", "backoff")
    declare(daemon, stay("a"), restarts)
    daemon.wait_gone("b")
    daemon.wait_for(lambda: len(runs(daemon.folder, "restarts")) >= 3)
    assert pids(daemon)["a"] == before["a"]


@pytest.mark.thorough
def test_a_deadline_or_a_back_off_that_passed_during_the_absence_has_passed(daemon: Daemon) -> None:
    start(
        daemon,
        stay("late", timeout="4s"),
        counting("due", daemon.folder, "exit 1", restart="always", restart_delay="1s", restart_delay_max="2s"),
    )
    running(daemon, "late")
    daemon.wait_state("due", "backoff")
    agents = daemon.agents()
    daemon.kill()
    deadline = agents["late"]["deadline"]
    assert deadline is not None
    over = max(datetime.fromisoformat(deadline).timestamp(), until(agents["due"]))
    wait_for(lambda: datetime.now().timestamp() > over)  # noqa: DTZ005 (a timestamp has no zone)
    daemon.start()
    daemon.wait_state("late", "timed_out")
    daemon.wait_for(lambda: len(runs(daemon.folder, "due")) >= 2)


def restarted(daemon: Daemon, name: str, times: int) -> None:
    daemon.wait_for(lambda: daemon.agents()[name]["restarts"] == times)


@pytest.mark.thorough
def test_restarts_are_counted_on_across_daemons(daemon: Daemon) -> None:
    step = 'while ! test -e "${0%.runs}.gate$(wc -l <"$0")"; do sleep 0.02; done; exit 1'
    gates = [daemon.folder / f"a.gate{number}" for number in range(1, 4)]
    start(daemon, counting("a", daemon.folder, step, restart="on-failure", max_restarts=2))
    for number, gate in enumerate(gates):
        assert daemon.wait_state("a", "running")["restarts"] == number
        daemon.kill()
        gate.touch()
        daemon.start()
        if number < 2:
            restarted(daemon, "a", number + 1)
    assert daemon.wait_state("a", "failed")["restarts"] == 2
    assert len(runs(daemon.folder, "a")) == 3


@pytest.mark.thorough
def test_a_stop_that_the_former_daemon_began_is_brought_to_its_end(daemon: Daemon) -> None:
    ready, hidden = daemon.folder / "ready", daemon.folder / "hidden"
    options = ("--ignore=INT,TERM", "--grandchildren=2", "--pids-file", hidden, "--ready", ready, "--forever")
    start(daemon, bad("deaf", *options, grace_period="1s"), stay("a"))
    wait_for_file(ready)
    before = running(daemon, "deaf", "a")
    declare(daemon, stay("a"))
    daemon.wait_state("deaf", "stopping")
    daemon.kill()
    daemon.start()
    daemon.wait_gone("deaf")
    wait_until_gone([before["deaf"], *map(int, lines(hidden))])
    assert pids(daemon) == {"a": before["a"]}


@pytest.mark.thorough
def test_a_restart_that_the_former_daemon_began_happens_once(daemon: Daemon) -> None:
    ready, lock, count = (daemon.folder / name for name in ("ready", "lock", "a.runs"))

    def agent(**fields: object) -> dict[str, object]:
        options = ("--ignore=INT", "--only-one", lock, "--runs", count, "--ready", ready, "--forever")
        return bad("a", *options, grace_period="1s", **fields)

    start(daemon, agent())
    wait_for_file(ready)
    pid = running(daemon, "a")["a"]
    declare(daemon, agent(env={"X": "1"}))
    daemon.wait_state("a", "stopping")
    daemon.kill()
    daemon.start()
    another_run(daemon, "a", pid)
    daemon.wait_for(lambda: len(runs(daemon.folder, "a")) == 2)
    assert not alive(pid)
    assert not list(daemon.folder.glob("*.overlap"))


@pytest.mark.thorough
def test_an_ended_agent_whose_session_was_closed_stays_ended(daemon: Daemon) -> None:
    agents = [counting("done", daemon.folder, "exit 0"), counting("failed", daemon.folder, "exit 3")]
    start(daemon, *agents, flags=["--interval=200ms"])
    daemon.wait_state("done", "exited")
    daemon.wait_state("failed", "failed")
    for name in ("done", "failed"):
        daemon.tmux("kill-session", "-t", f"={name}")
    daemon.wait_for(lambda: not {"done", "failed"} & set(daemon.sessions()))
    for _ in range(2):  # by the second the daemon has noticed
        settled(daemon, *agents)
    daemon.kill()
    daemon.start()
    settled(daemon, *agents)
    assert daemon.wait_state("failed", "failed")["exit_code"] == 3
    assert daemon.wait_state("done", "exited")["exit_code"] == 0
    assert [len(runs(daemon.folder, name)) for name in ("done", "failed")] == [1, 1]


@pytest.mark.thorough
def test_agents_whose_sessions_are_closed_during_the_absence_follow_their_policy(daemon: Daemon) -> None:
    folder = daemon.folder
    again = 'test "$(wc -l <"$0")" -lt 3 && exit 4; exec sleep 600'
    start(
        daemon,
        counting("done", folder, "exit 0"),
        counting("failed", folder, "exit 3"),
        counting("once", folder, "exec sleep 600", restart="no"),
        counting("again", folder, again, restart="always"),
        counting("waits", folder, "exit 5", restart="always", restart_delay="1h", restart_delay_max="1h"),
    )
    names = ("done", "failed", "once", "again", "waits")
    daemon.wait_for(lambda: len(runs(folder, "again")) == 3)
    before = {
        "done": daemon.wait_state("done", "exited"),
        "failed": daemon.wait_state("failed", "failed"),
        "waits": daemon.wait_state("waits", "backoff"),
    }
    former = running(daemon, "once", "again")
    daemon.kill()
    for name in names:
        daemon.tmux("kill-session", "-t", f"={name}")
    wait_until_gone(former.values())
    for number in range(2):  # and again, when it has been written down by a daemon that found no session
        daemon.start()
        another_run(daemon, "again", former["again"])
        assert daemon.agents()["again"]["restarts"] == 3
        once = daemon.wait_state("once", "failed")
        assert (once["exit_code"], once["exit_signal"]) == (None, None)
        assert "session was closed" in str(once["error"])
        assert daemon.wait_state("done", "exited")["exit_code"] == 0
        assert daemon.wait_state("failed", "failed")["exit_code"] == 3
        assert abs(until(daemon.wait_state("waits", "backoff")) - until(before["waits"])) <= 1
        daemon.wait_for(lambda: len(runs(folder, "again")) >= 4)  # its first act, a moment after it runs
        assert [len(runs(folder, name)) for name in names] == [1, 1, 1, 4, 1], number
        daemon.kill()


@pytest.mark.thorough
def test_another_shell_that_starts_agentd_restarts_no_agent(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    daemon.kill()
    more = {"LANG": "de_DE.UTF-8", "SOMETHING": "else", "PATH": f"/nowhere:{daemon.environment()['PATH']}"}
    daemon.start("--debug", "--launch-concurrency=3", env=more)
    daemon.wait_for(lambda: daemon.health()["config"]["valid"])
    declare(daemon, stay("a"), stay("b"))
    running(daemon, "b")
    assert pids(daemon)["a"] == before["a"]


@pytest.mark.thorough
def test_a_tmux_server_that_died_during_the_absence_takes_nothing_into_the_next_life(daemon: Daemon) -> None:
    lock, hidden = daemon.folder / "lock", daemon.folder / "hidden"
    options = ("--only-one", lock, "--ignore=HUP", "--grandchildren=2", "--pids-file", hidden, "--forever")
    start(daemon, bad("a", *options), stay("b"))
    wait_for_file(hidden)
    before = running(daemon, "a", "b")
    former = [int(line) for line in lines(hidden)]
    daemon.kill()
    daemon.tmux("kill-server")
    wait_until_gone([before["b"]])
    daemon.start()
    running(daemon, "a", "b")
    wait_until_gone([before["a"], *former])
    assert not list(daemon.folder.glob("*.overlap"))


@pytest.mark.thorough
def test_killed_again_and_again_nothing_changes(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b", timeout="1h"))
    before = running(daemon, "a", "b")
    deadline = daemon.agents()["b"]["deadline"]
    for _ in range(2):
        daemon.kill()
        daemon.start()
    daemon.wait_for(lambda: daemon.health()["config"]["valid"])
    assert running(daemon, "a", "b") == before
    assert daemon.agents()["b"]["deadline"] == deadline


@pytest.mark.thorough
def test_a_session_renamed_during_the_absence_is_still_the_agents(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    daemon.kill()
    daemon.tmux("rename-session", "-t", "=a", "mine")
    daemon.start("--interval=200ms")
    assert running(daemon, "a") == before
    assert_one_session(daemon, ["a"])


def assert_one_session(daemon: Daemon, names: Sequence[str]) -> None:
    daemon.wait_for(lambda: sorted(set(daemon.sessions()) - {"_agentd"}) == sorted(names))


@pytest.mark.thorough
def test_an_agent_that_changed_its_session_meanwhile_has_one(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    before = running(daemon, "a")
    daemon.kill()
    declare(daemon, stay("a", session="other"))
    daemon.start()
    another_run(daemon, "a", before["a"])
    assert_one_session(daemon, ["other"])


@pytest.mark.thorough
def test_a_launch_that_was_refused_in_the_pane_of_the_run_before_is_remembered_over_daemons(daemon: Daemon) -> None:
    start(daemon, counting("a", daemon.folder, "exit 0"))
    daemon.wait_state("a", "exited")
    declare(daemon, stay("a", workdir="/nowhere/at/all"))
    before = daemon.wait_state("a", "failed")
    for _ in range(3):
        # A moment for the record: what is decided after an end is written at once.
        daemon.wait_for(lambda: any("/nowhere" in path.read_text() for path in daemon.folder.rglob("*.record")))
        daemon.kill()
        daemon.start()
        after = daemon.wait_state("a", "failed")
        assert (after["error"], after["exit_code"]) == (before["error"], 0)
        assert "/nowhere" in str(after["error"])
    # The pane still is the agent's.
    declare(daemon, stay("a"))
    running(daemon, "a")
