"""Launches that cannot succeed: a reason a person can act on, a retry by policy, and nobody else concerned."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.daemon.support import bad, declare, failure, folder_of, pids, running, script, start, stay
from tests.support.agents import Recorded
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for_file
from tests.worktrees.repositories import make_repository

KIB = 1024
NO_PATH = {"PATH": "/nowhere:/neither"}


@pytest.fixture(scope="module")
def failing(shared_daemon_factory: Callable[[], Daemon]) -> Daemon:
    """A daemon most of whose agents cannot be launched."""
    daemon = shared_daemon_factory()
    folder = daemon.folder
    (folder / "no-folder").write_text("x")
    (folder / "not-executable").write_text("x")
    (folder / "binary").write_bytes(b"\xff\xfe\xfd")
    (folder / "nul").write_bytes(b"before\0after")
    (folder / "long").write_text("x" * 200 * KIB)
    (folder / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (folder / "no-interpreter").chmod(0o755)
    start(
        daemon,
        stay("good"),
        stay("no-program", command=["no-such-program"], env=NO_PATH),
        stay("no-claude", command=[], harness="claude-code", env=NO_PATH, prompt="hello"),
        stay("no-program-by-path", command=["/no/such/program"]),
        stay("folder-as-program", command=["/tmp"]),
        stay("no-permission", command=[str(folder / "not-executable")]),
        stay("no-interpreter", command=[str(folder / "no-interpreter")]),
        stay("no-workdir", workdir="/no/such/folder"),
        stay("file-as-workdir", workdir="no-folder"),
        stay("no-prompt", prompt_file="no-such-prompt"),
        stay("folder-as-prompt", prompt_file="."),
        stay("no-utf8-prompt", prompt_file="binary"),
        stay("nul-prompt", prompt="before\0after"),
        stay("nul-prompt-file", prompt_file="nul"),
        stay("long-prompt", prompt="x" * 200 * KIB),
        stay("long-prompt-file", prompt_file="long"),
        stay("long-variable", env={"LONG": "x" * 200 * KIB}),
        stay("too-much", env={f"LONG{number}": "x" * 120 * KIB for number in range(30)}),
    )
    return daemon


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-program", ["no-such-program", "/nowhere:/neither"]),
        ("no-claude", ['"claude"', "/nowhere:/neither"]),
        ("no-program-by-path", ["/no/such/program"]),
        ("folder-as-program", ["/tmp"]),
        ("no-permission", ["not-executable"]),
        ("no-interpreter", ["no-interpreter", "/no/such/interpreter", "does not exist"]),
        ("no-workdir", ["/no/such/folder", "workdir"]),
        ("file-as-workdir", ["no-folder", "workdir"]),
        ("no-prompt", ["no-such-prompt", "does not exist"]),
        ("folder-as-prompt", ["folder"]),
        ("no-utf8-prompt", ["binary", "UTF-8"]),
        ("nul-prompt", ["NUL"]),
        ("nul-prompt-file", ["NUL"]),
        ("long-prompt", ["204800 bytes", "131071"]),
        ("long-prompt-file", ["204800 bytes", "131071"]),
        ("long-variable", ["LONG", "131071"]),
    ],
)
def test_a_launch_that_cannot_succeed_says_why(failing: Daemon, name: str, words: list[str]) -> None:
    agent = failing.wait_state(name, "failed")
    assert agent["error"] is not None
    for word in words:
        assert word in agent["error"]
    assert "xxxxxxxxxx" not in agent["error"]
    assert (agent["running"], agent["pid"], agent["exit_code"], agent["restarts"]) == (False, None, None, 0)


def test_what_only_the_kernel_refuses_is_a_failure_too(failing: Daemon) -> None:
    agent = failing.wait_state("too-much", "failed")
    assert agent["error"]


def test_the_others_are_not_concerned(failing: Daemon) -> None:
    running(failing, "good")
    assert failing.health()["config"]["valid"]
    assert failing.health()["state"] == "running"


@pytest.mark.thorough
def test_a_launch_that_never_began_uses_up_no_restart(daemon: Daemon) -> None:
    gone = {"workdir": "/no/such/folder", "restart_delay": "1ms", "restart_delay_max": "5ms"}
    start(
        daemon,
        stay("no", **gone),
        stay("twice", restart="on-failure", max_restarts=2, **gone),
        stay("always", restart="always", **gone),
        stay("good"),
    )
    assert daemon.wait_state("no", "failed")["restarts"] == 0
    for name in ("twice", "always"):
        events = f"/v1/events?agent={name}"
        daemon.wait_for(partial(_tried, daemon, events), what=f"{name} is tried again and again")
        agent = daemon.wait_state(name, "backoff")
        assert agent["restarts"] == 0
        assert "/no/such/folder" in (agent["error"] or "")
    running(daemon, "good")


def _tried(daemon: Daemon, events: str) -> bool:
    return daemon.request("GET", events).body.count(b"launch_failed") >= 5


def test_an_agent_recovers_when_what_it_missed_is_there(daemon: Daemon) -> None:
    soon = {"restart": "on-failure", "restart_delay": "10ms", "restart_delay_max": "50ms"}
    start(
        daemon,
        stay("workdir", workdir="later", **soon),
        stay("program", command=["my-program"], **soon),
        {**stay("prompt", prompt_file="prompt", **soon), "command": ["sleep"]},
        stay("never", command=["true"]),
    )
    for name in ("workdir", "program", "prompt"):
        assert failure(daemon, name)
    (daemon.folder / "later").mkdir()
    (daemon.bin / "my-program").write_text("#!/bin/sh\nexec sleep 600\n")
    (daemon.bin / "my-program").chmod(0o755)
    (daemon.folder / "prompt").write_text("600")
    found = running(daemon, "workdir", "program", "prompt")
    assert folder_of(found["workdir"]) == (daemon.folder / "later").resolve()
    for name in found:
        assert daemon.agents()[name]["error"] is None


@pytest.mark.thorough
def test_without_restarts_it_is_launched_when_what_it_missed_is_there(daemon: Daemon) -> None:
    slow = {"restart": "on-failure", "max_restarts": 1, "restart_delay": "1h", "restart_delay_max": "1h"}
    repo = daemon.folder / "repo"
    agents = [
        stay("workdir", workdir="later"),
        stay("program", command=["my-program"]),
        stay("interpreter", command=["./my-script"]),
        stay("waits", workdir="later", **slow),
        stay("repo", repo=str(repo), isolation="worktree"),
        script("ran", "exit 3"),
    ]
    (daemon.folder / "my-script").write_text("#!my-interpreter\n")
    (daemon.folder / "my-script").chmod(0o755)
    declare(daemon, *agents)
    daemon.start("--interval", "100ms")
    for name in ("workdir", "program", "interpreter", "waits", "repo"):
        assert failure(daemon, name)
    daemon.wait_state("ran", "failed")
    assert json.loads(daemon.request("GET", "/v1/plan").body)["operations"] == []
    (daemon.folder / "later").mkdir()
    (daemon.bin / "my-program").write_text("#!/bin/sh\nexec sleep 600\n")
    (daemon.bin / "my-program").chmod(0o755)
    made = daemon.folder / "made"
    make_repository(made)
    made.rename(repo)
    (daemon.folder / "my-interpreter").symlink_to(daemon.bin / "my-program")
    running(daemon, "workdir", "program", "interpreter", "waits", "repo")
    assert {agent["restarts"] for agent in daemon.agents().values()} == {0}
    assert daemon.agents()["ran"]["state"] == "failed"


@pytest.mark.thorough
def test_an_agent_whose_launch_failed_is_launched_when_its_definition_is_mended(daemon: Daemon) -> None:
    start(daemon, stay("a", command=["no-such-program"]), stay("b"))
    daemon.wait_state("a", "failed")
    before = running(daemon, "b")
    declare(daemon, stay("a"), stay("b"))
    running(daemon, "a")
    assert pids(daemon)["b"] == before["b"]


@pytest.mark.thorough
def test_a_prompt_that_only_just_fits_arrives(daemon: Daemon) -> None:
    prompt = "ä" * 50 * KIB + "\n$(x) `y` 'z' \" \\ \t-- end"
    start(daemon, bad("a", "--record", daemon.folder / "record", "--", prompt=prompt))
    wait_for_file(daemon.folder / "record")
    recorded: Recorded = json.loads((daemon.folder / "record").read_text())
    assert recorded["argv"][-1] == prompt


def test_a_broken_runtime_folder_fails_launches_and_nothing_else(daemon: Daemon) -> None:
    start(daemon, stay("a"), flags=["--interval=200ms"])
    before = running(daemon, "a")
    (folder,) = [path for path in daemon.runtime.iterdir() if path.is_dir()]
    moved = Path(f"{folder}.moved")
    folder.rename(moved)
    folder.write_text("a stranger's")
    try:
        declare(daemon, stay("a"), stay("b", restart="always", restart_delay="20ms", restart_delay_max="50ms"))
        assert failure(daemon, "b")
    finally:
        folder.unlink()
    running(daemon, "b")
    shutil.rmtree(moved)
    assert pids(daemon)["a"] == before["a"]


PAGE = 4096
"""Bytes by which a tmpfs fills up."""
SCARCE = range(5)
"""Pages left for a launch: the first do not suffice for its script, the last do for all that it writes."""


@pytest.fixture
def small_runtime(daemon: Daemon) -> Iterator[Path]:
    """The folder of a daemon's runs, on a disk of its own of 256 KiB."""
    folder = daemon.runtime / "tmux.sock.runs"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        space = os.statvfs(folder)
        assert space.f_blocks * space.f_frsize == 256 * KIB, "not the small file system"
        yield folder
        if daemon.running:
            daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _leave_room(filler: Path, pages: int) -> None:
    """Fill the disk, but for so many pages."""
    with filler.open("ab", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"x" * PAGE):
                pass
        file.truncate(max(0, file.tell() - pages * PAGE))
    assert os.statvfs(filler).f_bavail == pages


@pytest.mark.thorough
def test_a_launch_on_a_full_disk_runs_or_says_why_however_far_it_comes(daemon: Daemon, small_runtime: Path) -> None:
    filler = small_runtime / "filler"
    start(daemon, stay("first"), flags=["--interval", "100ms"])
    first = running(daemon, "first")
    errors = []
    for pages in SCARCE:
        _leave_room(filler, pages)
        declare(daemon, stay("first"), stay("late", grace_period="1s"))
        errors.append(daemon.wait_state("late", "failed", "running")["error"] or "")
        declare(daemon, stay("first"))
        daemon.wait_gone("late")
    assert "No space left on device" in errors[0]
    assert errors[-1] == "", "there was room for it all"
    silent = [error for error in errors if "its launcher could not write" in error]
    assert silent, errors
    assert all(f"{small_runtime}: make room on that disk" in error for error in silent)
    filler.unlink()
    declare(daemon, stay("first"), stay("late"))
    running(daemon, "late")
    assert running(daemon, "first") == first
