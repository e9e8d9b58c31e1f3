"""Commands that look at a file system that does not answer say so, and end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.support import Client, Finished
from tests.daemon.support import running, start, stay
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.hung import hung
from tests.worktrees.repositories import commit, git

SOON = 15.0
"""Seconds; a step of a look is given up after two."""


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """Point agentctl at the daemon's files."""
    return Client(daemon.folder, {**daemon.places, "HOME": str(daemon.home)})


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Hold every test to an end that comes soon; what hangs would take half a minute and fail."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 4 * SOON


def at_once(client: Client, *commands: list[str | Path]) -> list[Finished]:
    """Run them beside each other, as each waits for what does not answer; all have to end soon."""

    def timed(command: list[str | Path]) -> Finished:
        begun = time.monotonic()
        done = client(*command)
        assert time.monotonic() - begun < SOON, command
        return done

    with ThreadPoolExecutor() as pool:
        return list(pool.map(timed, commands))


def test_a_jcard_that_hangs_is_said_by_each_command_that_reads_it(daemon: Daemon, client: Client) -> None:
    start(daemon, stay("good"))
    running(daemon, "good")
    there = daemon.folder / "mnt"
    file = there / "jcard.toml"
    with hung(there):
        worktrees, *others = at_once(
            client,
            ["worktrees", "clean", "--config", file],
            ["validate", file],
            ["plan", file],
            ["stop", "good", "--config", file],
        )
        assert worktrees.status == 0, "the daemon says which jcard is in force, and that answers"
        for done in others:
            assert done.status == 1, done
            assert f"{there} does not answer" in done.out + done.err
        for fine in (["status"], ["list"]):
            assert client(*fine, "--config", file).status == 0


def test_prompt_files_that_hang_are_found_in_the_time_of_one(daemon: Daemon, client: Client) -> None:
    there = daemon.folder / "mnt"
    agents = [stay(f"a{number}", prompt_file=str(there / f"{number}.md"), secrets=[]) for number in range(9)]
    daemon.write_jcard(jcard(*agents))
    with hung(there):
        begun = time.monotonic()
        done = client("validate", daemon.jcard)
        assert time.monotonic() - begun < SOON
        assert done.status == 1
        assert done.out.count(f"{there} does not answer") == len(agents)


@pytest.mark.thorough
def test_the_doctor_goes_on_with_the_rest(daemon: Daemon, client: Client) -> None:
    there = daemon.folder / "mnt"
    path = daemon.folder / "path"
    start(daemon, stay("good", secrets=[]))
    daemon.write_jcard(
        jcard(
            stay("good", secrets=[]),
            stay("desk", workdir=str(there / "desk"), secrets=[]),
            stay("seeks", command=["tool"], env={"PATH": f"{path}:/usr/bin:/bin"}, secrets=[]),
        )
    )
    with hung(there), hung(path), hung(daemon.secrets):
        done = client("doctor", "--json")
        assert done.status == 1
        found = json.loads(done.out)["findings"]
    errors = {each["topic"]: each["text"] for each in found if each["level"] == "error"}
    assert f"{there} does not answer" in errors["workdir"]
    assert errors["harness"] == f"{path} does not answer"
    assert errors["secrets"] == f"{daemon.secrets} does not answer"
    assert {"python", "tmux", "state", "files"} <= {each["topic"] for each in found if each["level"] == "ok"}


@pytest.mark.thorough
def test_a_repository_that_hangs_is_said_and_not_waited_for(daemon: Daemon, client: Client) -> None:
    there = daemon.folder / "mnt"
    repo = there / "shop"
    repo.mkdir(parents=True)
    git(repo, "init", "--quiet", "--initial-branch=main")
    Path(repo / "a.txt").write_text("a\n")
    commit(repo, "first")
    start(daemon, stay("worker", repo=str(repo), isolation="worktree", secrets=[]))
    running(daemon, "worker")
    with hung(there):
        listed, *others = at_once(
            client,
            ["worktrees", "list"],
            ["collect", "worker", "--output", daemon.folder / "out"],
            ["diff", "worker"],
        )
        assert listed.status == 0
        assert f"{there} does not answer" in listed.err
        assert listed.rows[0][0] == "worker"
        for done in others:
            assert done.status == 1
            assert f"{there} does not answer" in done.err


def test_sockets_that_hang_are_said_by_each_command(daemon: Daemon, client: Client) -> None:
    start(daemon, stay("good"))
    there = daemon.folder / "mnt"
    api: list[str | Path] = ["--api-socket", there / "agentd.sock"]
    tmux: list[str | Path] = ["--tmux-socket", there / "tmux.sock"]
    with hung(there):
        answers = at_once(
            client,
            ["status", *api],
            ["events", "-f", *api],
            ["screen", "good", *api, *tmux],
            ["keys", "good", "Enter", *tmux],
            ["doctor", *api, *tmux],
        )
    for done in answers:
        assert done.status != 0, done
        assert f"{there} does not answer" in done.out + done.err


def test_an_edit_of_a_jcard_with_sockets_that_hang_is_made(daemon: Daemon, client: Client) -> None:
    daemon.write_jcard(jcard(stay("good")))
    there = daemon.folder / "mnt"
    with hung(there):
        done = client("stop", "good", "--config", daemon.jcard, "--api-socket", there / "agentd.sock")
    assert done.status == 0
    assert "enabled = false" in daemon.jcard.read_text()
