"""Paths that users name, on a file system that does not answer: only the agents that need them are concerned."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.support import declare, running, script, start, stay
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.hung import HungMount, hung

SOON = "--interval=200ms"
QUICK = 15.0
"""Seconds within which the API answers whatever hangs."""


@pytest.fixture
def mount(daemon: Daemon) -> Iterator[HungMount]:
    """A folder that hangs, whatever the test does, until its end."""
    with hung(daemon.folder / "mnt") as made:
        yield made


def quick(daemon: Daemon) -> None:
    """Hold the API to answering at once."""
    begun = time.monotonic()
    daemon.agents()
    assert time.monotonic() - begun < QUICK


def naming(daemon: Daemon, name: str, path: Path) -> None:
    """Wait until an agent says that a path does not answer."""

    def says() -> bool:
        agent = daemon.agent(name)
        return agent is not None and f"{path} does not answer" in (agent["error"] or "")

    daemon.wait_for(says, what=f"{name} says what does not answer")


def test_only_agents_that_need_a_path_which_hangs_are_concerned(daemon: Daemon, mount: HungMount) -> None:
    there = mount.folder
    (daemon.folder / "link").symlink_to(there)
    (daemon.secrets / "HANGS").symlink_to(there / "secret")
    daemon.write_secret("FINE", "fine")
    others: list[dict[str, object]] = [
        stay("workdir", workdir=str(there / "work"), secrets=[]),
        stay("linked", workdir=str(daemon.folder / "link"), secrets=[]),
        stay("program", command=[str(there / "tool")], secrets=[]),
        stay("path", command=["tool"], env={"PATH": f"{there}:/usr/bin:/bin"}, secrets=[]),
        stay("prompt", prompt_file=str(there / "prompt.md"), secrets=[]),
        stay("secret", secrets=["HANGS"]),
        stay("repo", repo=str(there / "repo"), isolation="worktree", secrets=[]),
        stay("role", role="writer", workdir=str(there / "desk"), secrets=[], restart="on-failure"),
    ]
    start(daemon, stay("good", secrets=["FINE"]), *others)
    running(daemon, "good")
    for agent in others:
        naming(daemon, str(agent["name"]), there)
        quick(daemon)
    assert str(there) in [read["path"] for read in daemon.health()["slow_reads"]]
    declare(daemon, stay("good", secrets=["FINE"]), stay("late", secrets=[]), *others)
    running(daemon, "late")
    quick(daemon)
    assert daemon.stop() == 0


def test_a_program_to_be_told_that_hangs_holds_up_neither_the_rest_nor_the_end(
    daemon: Daemon, mount: HungMount
) -> None:
    rule = {"command": [str(mount.folder / "tell")], "on": ["failed"]}
    agents = [stay("good"), script("x", "exit 3")]

    def hangs() -> bool:
        for task in Path(f"/proc/{daemon.pid}/task").iterdir():
            # It may end meanwhile.
            with contextlib.suppress(OSError):
                if (task / "stat").read_text().rpartition(")")[2].split()[0] == "D":
                    return True
        return False

    daemon.write_jcard(jcard(*agents, notify=[rule]))
    daemon.start()
    daemon.wait_state("x", "failed")
    daemon.wait_for(hangs, what="a look at the program hangs")
    # The rule goes, and what is under way for it is not wanted any more.
    declare(daemon, *agents, stay("second"))
    running(daemon, "good", "second")
    quick(daemon)
    # Another one hangs when agentd is to end.
    daemon.write_jcard(jcard(*agents, stay("second"), script("y", "exit 3"), notify=[{**rule, "per_minute": 7}]))
    daemon.wait_state("y", "failed")
    assert daemon.stop() == 0


@pytest.mark.thorough
def test_what_a_mount_hides_while_it_hangs_stays_in_force(daemon: Daemon) -> None:
    daemon.write_secret("KEY", "value")
    start(daemon, stay("good"), flags=[SOON])
    pid = daemon.wait_state("good", "running")["pid"]
    with hung(daemon.secrets), hung(daemon.jcard.parent / "conf"):
        daemon.wait_for(lambda: daemon.health()["slow_reads"], what="health says what hangs")
        quick(daemon)
        declare(daemon, stay("good"), stay("second", secrets=[]))
        running(daemon, "second")
        assert daemon.wait_state("good", "running")["pid"] == pid
    daemon.wait_for(lambda: not daemon.health()["slow_reads"], what="all answers again")
    assert daemon.wait_state("good", "running")["pid"] == pid


def test_a_jcard_that_hangs_changes_nothing_until_it_answers(daemon: Daemon) -> None:
    folder = daemon.folder / "conf"
    folder.mkdir()
    daemon.jcard = folder / "jcard.toml"
    start(daemon, stay("good"), flags=[SOON])
    pid = daemon.wait_state("good", "running")["pid"]
    with hung(folder):
        daemon.wait_for(lambda: "does not answer" in (daemon.health()["config"]["error"] or ""), what="health says so")
        assert daemon.wait_state("good", "running")["pid"] == pid
        quick(daemon)
    daemon.wait_for(lambda: daemon.health()["config"]["valid"], what="the jcard is in force again")
    declare(daemon, stay("good"), stay("second"))
    running(daemon, "second")
    assert daemon.wait_state("good", "running")["pid"] == pid


@pytest.mark.thorough
def test_a_state_directory_that_hangs_stops_neither_agents_nor_the_end(daemon: Daemon) -> None:
    start(daemon, stay("good"))
    running(daemon, "good")
    with hung(daemon.state):
        declare(daemon, stay("good"), stay("second"))
        running(daemon, "second")
        quick(daemon)
        assert daemon.stop() == 0


def test_a_start_on_a_state_directory_that_hangs_says_so(daemon: Daemon) -> None:
    with hung(daemon.state):
        daemon.start(ready=False)
        assert daemon.wait_exit() == 1
        assert f"{daemon.state} does not answer" in daemon.log_text()


@pytest.mark.thorough
def test_a_folder_of_drop_ins_that_hangs_changes_nothing_until_it_answers(daemon: Daemon) -> None:
    path = daemon.write_drop_in("x.toml", jcard(stay("x")))
    start(daemon, stay("good"), flags=[SOON])
    before = running(daemon, "good", "x")
    with hung(daemon.drop_ins):
        daemon.wait_for(lambda: daemon.health()["config"]["warnings"], what="health says what hangs")
        quick(daemon)
        declare(daemon, stay("good"), stay("second"))
        running(daemon, "second")
        assert daemon.wait_state("x", "running")["pid"] == before["x"]
    daemon.wait_for(lambda: not daemon.health()["config"]["warnings"], what="it answers again")
    path.unlink()
    daemon.wait_gone("x")
    assert daemon.wait_state("good", "running")["pid"] == before["good"]


def test_a_drop_in_that_hangs_holds_up_no_other(daemon: Daemon, mount: HungMount) -> None:
    daemon.write_drop_in("x.toml", jcard(stay("x")))
    (daemon.drop_ins / "hangs.toml").symlink_to(mount.folder / "y.toml")
    declare(daemon, stay("good"))
    daemon.start(SOON)
    before = running(daemon, "x")
    daemon.write_drop_in("z.toml", jcard(stay("z")))
    running(daemon, "z")
    quick(daemon)
    files = {Path(file["path"]).name: file["error"] for file in daemon.health()["config"]["files"]}
    assert f"{mount.folder} does not answer" in (files["hangs.toml"] or "")
    assert daemon.wait_state("x", "running")["pid"] == before["x"]
