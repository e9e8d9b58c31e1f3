"""Traps that the agents' user may lay where root's agentd works: links, FIFOs and folders in the place of files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.jcard.prompts import PromptError, read_prompt
from agentd.model.user import AgentUser
from tests.security.users import AGENT_USER, account, start_guarded
from tests.support.daemon import Daemon

SECRET = "of root only"


@pytest.fixture
def victim(guarded: Daemon) -> Path:
    """A file of root's that nobody else may touch."""
    path = guarded.folder / "victim"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def lock_path(daemon: Daemon) -> Path:
    return daemon.tmux_socket.with_name(daemon.tmux_socket.name + ".pid")


def link(trap: Path, victim: Path) -> None:
    trap.symlink_to(victim)


def hard_link(trap: Path, victim: Path) -> None:
    trap.hardlink_to(victim)


def fifo(trap: Path, _victim: Path) -> None:
    os.mkfifo(trap)


def folder(trap: Path, _victim: Path) -> None:
    trap.mkdir()


def file_of_the_user(trap: Path, _victim: Path) -> None:
    trap.write_text("4242\n")
    os.chown(trap, account(AGENT_USER).pw_uid, -1)


@pytest.mark.parametrize("trap", [link, hard_link, fifo, folder, file_of_the_user])
def test_a_trap_in_the_place_of_the_lock_is_refused_and_harms_nothing(
    guarded: Daemon, victim: Path, trap: Callable[[Path, Path], None]
) -> None:
    trap(lock_path(guarded), victim)
    guarded.write_jcard("agents = []\n")
    guarded.start(f"--agent-user={AGENT_USER}", ready=False)
    assert guarded.wait_exit() == 1
    (line,) = [line for line in guarded.log_text().splitlines() if line.startswith("agentd: ")]
    assert str(lock_path(guarded)) in line
    assert victim.read_text() == SECRET
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("trap", [link, fifo, folder, file_of_the_user])
def test_a_trap_in_the_place_of_the_tmux_socket_is_refused_and_harms_nothing(
    guarded: Daemon, victim: Path, trap: Callable[[Path, Path], None]
) -> None:
    trap(guarded.tmux_socket, victim)
    guarded.write_jcard("agents = []\n")
    guarded.start(f"--agent-user={AGENT_USER}", "--admin-group=adm", ready=False)
    assert guarded.wait_exit() == 1
    assert victim.read_text() == SECRET
    assert (victim.stat().st_uid, victim.stat().st_gid) == (0, 0)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("trap", [link, fifo, file_of_the_user])
def test_a_trap_in_the_place_of_the_runtime_directory_is_refused_and_harms_nothing(
    guarded: Daemon, victim: Path, trap: Callable[[Path, Path], None]
) -> None:
    trap(guarded.tmux_socket.with_name(guarded.tmux_socket.name + ".runs"), victim)
    guarded.write_jcard("agents = []\n")
    guarded.start(f"--agent-user={AGENT_USER}", ready=False)
    assert guarded.wait_exit() == 1
    assert victim.read_text() == SECRET


def test_a_prompt_file_that_an_agent_bends_to_a_file_of_roots_is_not_read(guarded: Daemon, victim: Path) -> None:
    said = {"command": ["sh", "-c", 'echo "told: $1"; sleep 600', "sh"], "workdir": "work"}
    (guarded.workdir / "good.md").write_text("do it")
    (guarded.workdir / "bent.md").symlink_to(victim)
    start_guarded(
        guarded,
        {"name": "good", **said, "prompt_file": "work/good.md"},
        {"name": "bent", **said, "prompt_file": "work/bent.md"},
    )
    guarded.wait_for(lambda: "told: do it" in guarded.screen("good"))
    agent = guarded.wait_state("bent", "failed")
    assert "bent.md" in str(agent["error"])
    assert SECRET not in str(guarded.agents()) + guarded.log_text()


USER = AgentUser(AGENT_USER, 12345, 12345, (23456,), Path("/"), "/bin/sh", switch=True)
"""Nobody on this machine, and not the one that runs the test."""


@pytest.fixture
def place(short_folder: Path) -> Iterator[Path]:
    """A folder that only we may change, with a file that only we may read."""
    if os.geteuid() != 0:
        pytest.skip("a folder of one's own under /tmp is not closed to others unless one is root")
    place = Path("/run") / short_folder.parent.name
    place.mkdir(mode=0o755)
    (place / "private").write_text(SECRET)
    (place / "private").chmod(0o600)
    yield place
    shutil.rmtree(place)


def test_a_file_of_roots_on_a_way_that_is_roots_is_read_for_others(place: Path) -> None:
    (place / "link").symlink_to("private")
    (place / "sub").mkdir()
    (place / "sub/up").symlink_to("../link")
    for name in ("private", "link", "sub/up"):
        assert read_prompt(place / name, USER) == SECRET


def test_on_a_way_that_the_user_may_change_only_what_it_may_read_is_read(place: Path) -> None:
    theirs = place / "theirs"
    theirs.mkdir()
    (theirs / "own").write_text("own")
    (theirs / "to-private").symlink_to(place / "private")
    (theirs / "up").symlink_to("..")
    os.chown(theirs, USER.uid, USER.gid)
    (place / "into").symlink_to("theirs/to-private")
    assert read_prompt(theirs / "own", USER) == "own"
    for name in ("theirs/to-private", "theirs/up/private", "into"):
        with pytest.raises(PromptError, match="may not read"):
            read_prompt(place / name, USER)
    (place / "private").chmod(0o644)
    assert read_prompt(theirs / "to-private", USER) == SECRET
    # Readable, but in a folder that the user cannot enter.
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    (closed / "open").write_text(SECRET)
    (theirs / "to-closed").symlink_to(closed / "open")
    with pytest.raises(PromptError, match="may not read"):
        read_prompt(theirs / "to-closed", USER)
