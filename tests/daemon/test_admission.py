"""Agents wait for slots: ``[limits]``, ``[[pools]]``, ``priority``, and one writer a repository."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from tests.cli.support import Client
from tests.daemon.support import stay
from tests.daemon.test_events import events
from tests.support.agents import jcard
from tests.support.daemon import Daemon


def limited(tables: str, *agents: Mapping[str, object]) -> str:
    return f"{tables}\n{jcard(*agents)}"


def states(daemon: Daemon) -> dict[str, str]:
    return {name: agent["state"] for name, agent in daemon.agents().items()}


def wait_states(daemon: Daemon, **expected: str) -> None:
    daemon.wait_for(lambda: states(daemon) == expected, what=f"agents are {expected}")


def wait_ended(daemon: Daemon, number: int) -> None:
    daemon.wait_for(lambda: list(states(daemon).values()).count("exited") >= number, what=f"{number} have ended")


def place(daemon: Daemon, name: str) -> tuple[int | None, str]:
    queued = daemon.agents()[name]["queued"]
    assert queued is not None
    return queued["place"], queued["reason"]


def client_of(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


@pytest.mark.thorough
def test_no_more_run_than_may_and_the_next_one_follows(daemon: Daemon) -> None:
    """By priority, then in the order of the file; over another daemon, an exit, a removal and an edit."""
    one, two, three = stay("one"), stay("two"), stay("three", priority=5)
    daemon.write_jcard(limited("[limits]\nrunning = 1", one, two))
    daemon.start()
    wait_states(daemon, one="running", two="queued")
    assert place(daemon, "two") == (1, "all 1 of [limits] running are taken")
    daemon.write_jcard(limited("[limits]\nrunning = 1", one, two, three))
    wait_states(daemon, one="running", two="queued", three="queued")
    daemon.wait_for(lambda: (place(daemon, "three")[0], place(daemon, "two")[0]) == (1, 2), what="three is first")
    client = client_of(daemon)
    assert "+\tstart\ttwo\tdeclared and not launched yet (waits: queued, place 2: all 1 of" in client("plan").out
    assert "place 2: all 1 of [limits] running are taken" in client("status", "two").out
    assert client("plan", str(daemon.jcard)).out == client("plan").out
    pid = daemon.agents()["one"]["pid"]
    daemon.kill()
    daemon.start()
    wait_states(daemon, one="running", two="queued", three="queued")
    assert daemon.agents()["one"]["pid"] == pid

    daemon.write_jcard(limited("[limits]\nrunning = 1", two, three))
    wait_states(daemon, two="queued", three="running")
    # Who waits may be removed; who runs when a limit is lowered stays, and one more may run when it is raised.
    daemon.write_jcard(limited("[limits]\nrunning = 2", one, two, three))
    daemon.wait_for(lambda: list(states(daemon).values()).count("running") == 2, what="two run")
    daemon.write_jcard(limited("", one, two, three))
    wait_states(daemon, one="running", two="running", three="running")
    told = daemon.wait_for(lambda: events(daemon, "?kind=launched&agent=two"), what="it is told")
    data = cast("Mapping[str, object]", told[0]["data"])
    assert data["was"] == "queued"
    assert cast("float", data["queued_seconds"]) >= 0


def test_exactly_as_many_run_as_may_however_they_end(daemon: Daemon) -> None:
    """Twelve short runs through three slots: each runs, and a witness of their own counts never more than three."""
    counted, seen = daemon.folder / "slots", daemon.folder / "seen"
    counted.mkdir()
    script = f'mkdir {counted}/$$; ls {counted} | wc -l >> {seen}; sleep 0.1; rmdir {counted}/$$; exit "$1"'
    agents: list[dict[str, object]] = [
        {"name": f"a{at}", "command": ["sh", "-c", script, "x", str(at % 2)], "restart_delay": "10ms"}
        for at in range(12)
    ]
    agents[3] |= {"restart": "on-failure", "max_restarts": 2}
    daemon.write_jcard(limited("[limits]\nrunning = 3", *agents))
    daemon.start()
    daemon.wait_for(
        lambda: len(states(daemon)) == 12 and set(states(daemon).values()) <= {"exited", "failed"}, what="all have run"
    )
    counts = [int(line) for line in seen.read_text().split()]
    assert len(counts) == 14
    assert max(counts) <= 3


@pytest.mark.thorough
def test_a_killed_agentd_gives_no_slot_twice(daemon: Daemon) -> None:
    """It is killed at whatever moment while agents go through two slots; each counts who else lives."""
    counted, seen = daemon.folder / "slots", daemon.folder / "seen"
    counted.mkdir()
    # A run that is ended with the daemon that lost it leaves its mark.
    alive = f"for pid in $(ls {counted}); do test -d /proc/$pid && echo; done | wc -l"
    script = f"mkdir {counted}/$$; {alive} >> {seen}; sleep 0.1; rmdir {counted}/$$"
    agents: list[dict[str, object]] = [{"name": f"a{at}", "command": ["sh", "-c", script]} for at in range(10)]
    daemon.write_jcard(limited("[limits]\nrunning = 2", *agents))
    for ended in (1, 3, 5, 7):
        daemon.start()
        wait_ended(daemon, ended)
        daemon.kill()
    daemon.start()
    wait_states(daemon, **{f"a{at}": "exited" for at in range(10)})
    counts = [int(line) for line in seen.read_text().split()]
    assert len(counts) >= 10
    assert max(counts) <= 2


def test_two_never_write_to_one_repository_without_worktrees(daemon: Daemon) -> None:
    repo = daemon.folder / "shop"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    (repo / "src").mkdir()
    elsewhere = daemon.folder / "blog"
    elsewhere.mkdir()
    inside, below = stay("inside", repo=str(repo)), stay("below", workdir=str(repo / "src"))
    other = stay("other", workdir=str(elsewhere))
    daemon.write_jcard(limited("[limits]\nrunning = 9", inside, below, other, {**other, "name": "another"}))
    daemon.start()
    wait_states(daemon, inside="running", below="queued", other="running", another="running")
    assert place(daemon, "below") == (1, f"inside writes to {repo} itself, as it would")
    # An agent that is moved there is stopped where it was, and waits.
    moved = {**other, "workdir": str(repo)}
    daemon.write_jcard(limited("[limits]\nrunning = 9", inside, below, moved))
    wait_states(daemon, inside="running", below="queued", other="queued")
    daemon.write_jcard(limited("[limits]\nrunning = 9\none_writer = false", inside, below, moved))
    wait_states(daemon, inside="running", below="running", other="running")


def test_a_pool_has_slots_for_a_repository_and_its_worktrees(daemon: Daemon, tmp_path: Path) -> None:
    repo = tmp_path / "shop"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    run = ["git", "-C", str(repo), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    tables = f'[[pools]]\nname = "shop"\nslots = 2\nrepository = "{repo}"'
    agents = [stay(name, repo=str(repo), isolation="worktree") for name in ("a", "b", "c")]
    daemon.write_jcard(limited(tables, *agents, stay("d")))
    daemon.start()
    wait_states(daemon, a="running", b="running", c="queued", d="running")
    assert place(daemon, "c") == (1, 'all 2 slots of the pool "shop" are taken, by a, b')


@pytest.mark.parametrize("fields", [{}, {"restart": "always", "restart_delay": "20ms"}])
def test_who_cannot_be_launched_keeps_a_slot_only_while_it_is_tried_again(
    daemon: Daemon, fields: Mapping[str, object]
) -> None:
    missing = daemon.folder / "missing"
    broken = stay("broken", workdir=str(missing), **fields)
    daemon.write_jcard(limited("[limits]\nrunning = 1", broken, stay("next")))
    daemon.start("--interval=500ms")
    if fields:
        wait_states(daemon, broken="backoff", next="queued")
        missing.mkdir()
        wait_states(daemon, broken="running", next="queued")
        return
    wait_states(daemon, broken="failed", next="running")
    missing.mkdir()
    # It has what it needs now, but no slot any more.
    wait_states(daemon, broken="queued", next="running")
    daemon.write_jcard(limited("[limits]\nrunning = 1", broken))
    wait_states(daemon, broken="running")


def test_an_agent_is_launched_once_another_has_ended_with_success(daemon: Daemon) -> None:
    """A build that fails first and is mended; the tests wait, also over another daemon."""
    fails = {"name": "build", "command": ["sh", "-c", "exit 1"]}
    test, tell = stay("test", after=["build:success"]), stay("tell", after=["build:failure"])
    daemon.write_jcard(jcard(fails, test, tell))
    daemon.start()
    wait_states(daemon, build="failed", test="queued", tell="running")
    assert place(daemon, "test") == (None, "build is to end with success, and is failed")
    assert "(waits: queued: build is to end with success, and is failed)" in client_of(daemon)("plan").out
    daemon.kill()
    daemon.start()
    wait_states(daemon, build="failed", test="queued", tell="running")
    pid = daemon.agents()["tell"]["pid"]
    daemon.write_jcard(jcard({**fails, "command": ["true"]}, test, tell))
    wait_states(daemon, build="exited", test="running", tell="running")
    assert daemon.agents()["tell"]["pid"] == pid
