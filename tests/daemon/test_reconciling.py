"""Desired and observed: what a change of the files does, and above all what it leaves alone."""

from __future__ import annotations

import codecs
from pathlib import Path

import psutil
import pytest

from tests.daemon.support import (
    another_run,
    counting,
    declare,
    environment_of,
    pids,
    running,
    runs,
    settled,
    start,
    stay,
)
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.processes import alive, environment_now


def test_agents_come_and_go_and_the_others_are_left_alone(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"), stay("c"))
    first = running(daemon, "a", "b", "c")

    declare(daemon, stay("a"), stay("c"), stay("d"))
    daemon.wait_gone("b")
    running(daemon, "d")
    assert not alive(first["b"])
    assert "b" not in daemon.sessions()

    declare(daemon, stay("d"), stay("c", enabled=False), stay("a"))
    agent = daemon.wait_state("c", "disabled")
    assert (agent["running"], agent["pid"]) == (False, None)
    assert not alive(first["c"])
    daemon.wait_for(lambda: "c" not in daemon.sessions())

    declare(daemon, stay("c"), stay("a"))
    third = running(daemon, "c")
    daemon.wait_gone("d")
    assert pids(daemon) == {"a": first["a"], **third}
    assert list(daemon.agents()) == ["a", "c"]


def test_replicas_are_added_and_taken_at_the_end(daemon: Daemon) -> None:
    start(daemon, stay("w", replicas=2), stay("other"))
    two = running(daemon, "w-0", "w-1", "other")
    assert set(pids(daemon)) == set(two)
    declare(daemon, stay("w", replicas=4), stay("other"))
    four = running(daemon, "w-0", "w-1", "w-2", "w-3", "other")
    assert four.items() >= two.items()
    declare(daemon, stay("w", replicas=3), stay("other"))
    daemon.wait_gone("w-3")
    assert pids(daemon) == {name: pid for name, pid in four.items() if name != "w-3"}
    declare(daemon, stay("w"), stay("other"))
    for name in ("w-0", "w-1", "w-2"):
        daemon.wait_gone(name)
    running(daemon, "w")
    assert pids(daemon)["other"] == two["other"]


CHANGES: dict[str, dict[str, object]] = {
    "args": {"args": ["601"]},
    "command": {"command": ["sleep", "602"]},
    "env": {"env": {"NEW": "1"}},
    "workdir": {"workdir": "home"},
    "session": {"session": "renamed"},
    "restarted-at": {"restarted_at": "2026-01-31T09:00:00Z"},
    "prompt": {"prompt": "603"},
    "secrets": {"secrets": ["A"]},
}


def test_a_change_of_the_launch_restarts_that_agent_alone(daemon: Daemon) -> None:
    for name in ("A", "B"):
        daemon.write_secret(name, "v")
    agents = {name: stay(name) for name in ("other", *CHANGES)}
    start(daemon, *agents.values())
    expected = running(daemon, *agents)
    for name, change in CHANGES.items():
        agents[name] = stay(name, **change)
        declare(daemon, *agents.values())
        former = expected[name]
        expected[name] = another_run(daemon, name, former)
        assert not alive(former)
        assert pids(daemon) == expected
        agent = daemon.agents()[name]
        assert (agent["restarts"], agent["session"]) == (0, change.get("session", name))
    sessions = {*agents, "renamed"} - {"session"}
    assert sorted(set(daemon.sessions()) - {"_agentd"}) == sorted(sessions)


def test_a_change_of_policy_applies_to_the_running_agent_without_touching_it(daemon: Daemon) -> None:
    gate = daemon.folder / "gate"

    def agents(**policy: object) -> list[dict[str, object]]:
        then = f"while ! test -e {gate}; do sleep 0.05; done; exit 7"
        return [counting("a", daemon.folder, then, **{"restart_delay": "1h", **policy}), stay("t")]

    start(daemon, *agents())
    first = running(daemon, "a", "t")
    changed = agents(
        restart="on-failure",
        max_restarts=2,
        restart_delay="5ms",
        restart_delay_max="10ms",
        restart_reset="1h",
        grace_period="5s",
        success_exit_codes=[3],
    )
    settled(daemon, *changed)
    assert pids(daemon).items() >= first.items()
    gate.touch()
    agent = daemon.wait_state("a", "failed")
    assert (agent["exit_code"], agent["restarts"]) == (7, 2)
    assert len(runs(daemon.folder, "a")) == 3


@pytest.mark.thorough
def test_a_timeout_given_to_a_running_agent_counts_from_its_start(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"))
    first = running(daemon, "a", "b")
    assert daemon.agents()["a"]["deadline"] is None
    declare(daemon, stay("a", timeout="1h"), stay("b", timeout="1ms"))
    daemon.wait_for(lambda: daemon.agents()["a"]["deadline"])
    assert pids(daemon)["a"] == first["a"]
    daemon.wait_state("b", "timed_out")
    declare(daemon, stay("a"), stay("b", timeout="1ms"))
    daemon.wait_for(lambda: daemon.agents()["a"]["deadline"] is None)
    assert pids(daemon)["a"] == first["a"]


@pytest.mark.thorough
def test_a_shorter_delay_ends_a_back_off_that_is_over_by_it(daemon: Daemon) -> None:
    agent = counting("a", daemon.folder, "exit 1", restart="always", restart_delay="1h", restart_delay_max="1h")
    start(daemon, agent)
    daemon.wait_state("a", "backoff")
    declare(daemon, {**agent, "restart_delay": "1ms", "restart_delay_max": "10ms"})
    daemon.wait_for(lambda: len(runs(daemon.folder, "a")) >= 3)


def test_an_ended_agent_stays_ended_until_it_changes_or_is_restarted_by_hand(daemon: Daemon) -> None:
    done = counting("done", daemon.folder, "exit 0")
    failed = counting("failed", daemon.folder, "exit 1", restart="on-failure", max_restarts=1, restart_delay="1ms")
    start(daemon, done, failed, flags=["--interval=200ms"])
    daemon.wait_state("done", "exited")
    daemon.wait_state("failed", "failed")
    settled(daemon, done, failed)
    settled(daemon, failed, done)
    assert (len(runs(daemon.folder, "done")), len(runs(daemon.folder, "failed"))) == (1, 2)

    declare(daemon, {**done, "restarted_at": "now"}, {**failed, "env": {"A": "b"}})
    daemon.wait_for(lambda: len(runs(daemon.folder, "done")) == 2)
    daemon.wait_for(lambda: len(runs(daemon.folder, "failed")) == 4)
    daemon.wait_state("done", "exited")
    daemon.wait_state("failed", "failed")


@pytest.mark.thorough
def test_a_prompt_file_is_read_anew_and_restarts_only_its_agents(daemon: Daemon) -> None:
    prompts = daemon.folder / "prompts"
    prompts.mkdir()
    (prompts / "one").write_text("  600\n\n")
    (prompts / "two").write_text("600")

    def agent(name: str, **fields: object) -> dict[str, object]:
        return {**stay(name), "command": ["sleep"], **fields}

    start(
        daemon,
        agent("a", prompt_file="prompts/one", prompt="1"),
        agent("b", prompt_file=str(prompts / "one")),
        agent("c", prompt_file="prompts/two"),
        agent("d", prompt="600"),
    )
    first = running(daemon, "a", "b", "c", "d")
    replace(prompts / "one", "601")
    second = {name: another_run(daemon, name, first[name]) for name in ("a", "b")}
    assert pids(daemon) == {**first, **second}

    # White space around the text is no change of the prompt.
    replace(prompts / "two", "\n600 \n")
    replace(prompts / "one", "602")
    another_run(daemon, "a", second["a"])
    assert pids(daemon)["c"] == first["c"]


def replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.rename(path)


@pytest.mark.thorough
def test_a_prompt_file_that_goes_does_not_stop_what_runs(daemon: Daemon) -> None:
    prompt = daemon.folder / "prompt"
    prompt.write_text("600")
    agent = {**stay("a"), "command": ["sleep"], "prompt_file": "prompt"}
    start(daemon, agent)
    first = running(daemon, "a")
    prompt.unlink()
    settled(daemon, agent)
    assert pids(daemon)["a"] == first["a"]
    prompt.write_text("601")
    another_run(daemon, "a", first["a"])


def test_a_secret_restarts_only_the_agents_that_receive_it(daemon: Daemon) -> None:
    daemon.write_secret("ONE", "1")
    daemon.write_secret("TWO", "1")
    agents = [
        stay("all"),
        stay("none", secrets=[]),
        stay("only-one", secrets=["ONE"]),
        stay("only-two", secrets=["TWO"]),
        stay("own", env={"ONE": "mine", "THREE": "mine"}, secrets=["ONE", "THREE"]),
    ]
    start(daemon, *agents)
    first = running(daemon, "all", "none", "only-one", "only-two", "own")

    daemon.write_secret("ONE", "2")
    changed = {name: another_run(daemon, name, first[name]) for name in ("all", "only-one")}
    assert environment_of(changed["only-one"])["ONE"] == "2"
    second = {**first, **changed}
    assert pids(daemon) == second

    daemon.write_secret("THREE", "1")
    changed = {"all": another_run(daemon, "all", second["all"])}
    third = {**second, **changed}
    assert pids(daemon) == third

    (daemon.secrets / "TWO").unlink()
    changed = {name: another_run(daemon, name, third[name]) for name in ("all", "only-two")}
    assert "TWO" not in environment_of(changed["only-two"])
    assert pids(daemon) == {**third, **changed}
    # The same value written again is no change.
    daemon.write_secret("ONE", "2\n")
    settled(daemon, *agents)
    assert pids(daemon)["only-one"] == third["only-one"]


@pytest.mark.thorough
def test_moving_a_session_name_from_one_agent_to_another_moves_it(daemon: Daemon) -> None:
    start(daemon, stay("a", session="s"), stay("b", session="t"))
    first = running(daemon, "a", "b")
    declare(daemon, stay("a", session="t"), stay("b", session="s"))
    second = {name: another_run(daemon, name, first[name]) for name in first}
    assert pids(daemon) == second
    assert {"s", "t"} <= set(daemon.sessions())
    pane = daemon.tmux("list-panes", "-t", "=s:0", "-F", "#{pane_pid}")
    assert environment_of(second["b"])["AGENTD_AGENT"] == "b"
    assert int(pane) in parents(second["b"])


def parents(pid: int) -> list[int]:
    return [process.pid for process in psutil.Process(pid).parents()]


def test_an_invalid_jcard_changes_nothing_and_is_reported_with_its_place(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"))
    first = running(daemon, "a", "b")
    text = '[[agents]]\nharness = "custom"\nname = "a"\nrestart = "sometimes"\n'
    daemon.write_jcard(text)
    config = daemon.wait_for(lambda: not (found := daemon.health()["config"])["valid"] and found)
    assert config
    assert config["error"] is not None
    for part in (f"{daemon.jcard}:4:", '"a"', "restart", "sometimes", "on-failure"):
        assert part in config["error"]
    assert config["loaded_at"] is not None
    assert pids(daemon) == first

    daemon.write_jcard("\x00\x01garbage [[[")
    daemon.wait_for(lambda: f"{daemon.jcard}:1:" in (daemon.health()["config"]["error"] or ""))
    assert pids(daemon) == first
    assert daemon.agent("a")

    settled(daemon, stay("a"))
    assert daemon.health()["config"]["error"] is None
    assert pids(daemon)["a"] == first["a"]
    daemon.wait_gone("b")


def test_one_invalid_agent_holds_back_the_whole_file(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    first = running(daemon, "a")
    declare(daemon, stay("b"), stay("c", harness="no-such-harness"))
    daemon.wait_for(lambda: "no-such-harness" in (daemon.health()["config"]["error"] or ""))
    assert pids(daemon) == first


@pytest.mark.thorough
def test_a_last_good_agent_is_still_restarted_while_the_jcard_is_invalid(daemon: Daemon) -> None:
    start(daemon, counting("a", daemon.folder, "sleep 0.1; exit 1", restart="always", restart_delay_max="20ms"))
    daemon.write_jcard("garbage")
    daemon.wait_for(lambda: not daemon.health()["config"]["valid"])
    before = len(runs(daemon.folder, "a"))
    daemon.wait_for(lambda: len(runs(daemon.folder, "a")) >= before + 2)


def test_a_jcard_that_is_missing_or_empty_stops_nothing(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    first = running(daemon, "a")
    for break_it in (
        daemon.jcard.unlink,
        lambda: daemon.jcard.write_bytes(b""),
        # What some editors make of an empty file.
        lambda: daemon.jcard.write_bytes(codecs.BOM_UTF8),
    ):
        break_it()
        daemon.wait_for(lambda: not daemon.health()["config"]["valid"])
        assert pids(daemon)["a"] == first["a"]
        settled(daemon, stay("a"))
        assert pids(daemon)["a"] == first["a"]


def test_a_jcard_without_agents_stops_them(daemon: Daemon) -> None:
    start(daemon, stay("a"))
    running(daemon, "a")
    daemon.write_jcard("# nothing to do\n")
    daemon.wait_gone("a")
    assert daemon.health()["agents"] == {"total": 0, "running": 0, "failed": 0}


@pytest.mark.thorough
def test_a_jcard_written_in_pieces_stops_nobody_on_the_way(daemon: Daemon) -> None:
    names = [f"a{number}" for number in range(6)]
    agents = [stay(name) for name in names]
    start(daemon, *agents)
    first = running(daemon, *names)
    # Every cut in a comment between two tables is a valid jcard that declares fewer agents.
    comment = "# filling\n" * 300
    text = comment.join(jcard(agent) for agent in (*agents, stay("new"))).encode()
    for _ in range(60):
        with daemon.jcard.open("wb", buffering=0) as file:
            for begin in range(0, len(text), 20):
                file.write(text[begin : begin + 20])
    running(daemon, "new")
    assert pids(daemon).items() >= first.items()


@pytest.mark.thorough
def test_launches_go_on_one_at_a_time_if_told_so(daemon: Daemon) -> None:
    names = [f"a{number}" for number in range(8)]
    broken = stay("a9", command=["no-such-program"], restart="always", restart_delay="10ms", restart_delay_max="10ms")
    start(daemon, broken, *map(stay, names), flags=["--launch-concurrency=1"])
    running(daemon, *names)


@pytest.mark.thorough
def test_a_burst_of_changes_ends_with_the_last(daemon: Daemon) -> None:
    start(daemon, stay("a"), stay("b"))
    first = running(daemon, "a", "b")
    for number in range(30):
        declare(daemon, stay("a", env={"N": str(number)}), stay("b"))
    daemon.wait_for(lambda: (pid := pids(daemon)["a"]) and environment_now(pid).get("N") == "29", 20, what="N is 29")
    assert pids(daemon)["b"] == first["b"]
    assert daemon.sessions().count("a") == 1
