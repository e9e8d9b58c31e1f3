"""init and hire: workspaces, and agents that work in them."""

from __future__ import annotations

import os
import pwd
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agentd.harness.builtin import BUILT_IN
from tests.cli.support import Client
from tests.cli.test_worktrees import OTHER, ROOT, client_of
from tests.daemon.support import folder_of
from tests.support.daemon import Daemon

READY = {"claude": BUILT_IN["claude-code"].facts.ready_marker, "codex": BUILT_IN["codex"].facts.ready_marker}
COMMENTED = "# my agents\n\n[mixtape]\nx = 1   # not agentd's\n"


def fake(daemon: Daemon, name: str) -> None:
    """A stand-in for a coding agent's program, which says when it is ready."""
    program = daemon.bin / name
    # Not at once, as no real one is: the journal tells of its trust a moment later.
    program.write_text(f"#!/bin/sh\nsleep 0.5\necho '{READY[name]}'\nexec sleep 600\n")
    program.chmod(0o755)


def today() -> str:
    return f"notes/daily-{datetime.now().astimezone().date().isoformat()}.md"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """A daemon without agents, and programs that stand in for claude and codex."""
    for name in ("claude", "codex"):
        fake(daemon, name)
    # As root the home would be the real one.
    daemon.write_secret("HOME", str(daemon.home))
    daemon.write_jcard(COMMENTED)
    daemon.start()
    return client_of(daemon)


def test_hiring_makes_a_workspace_and_an_agent_that_runs_in_it_once(client: Client, daemon: Daemon) -> None:
    done = client("hire", "engineer", "alice")
    agent = daemon.agents()["engineer_alice"]
    assert (done.status, done.out) == (0, f"engineer_alice {agent['pid']}\n")
    workspace = daemon.data / "workspaces" / "engineer_alice"
    assert agent["pid"] is not None
    assert folder_of(agent["pid"]) == workspace
    assert sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if not path.is_dir()) == [
        "AGENTS.md",
        "CLAUDE.md",
        "GEMINI.md",
        "SOUL.md",
        "memory/memory.md",
        today(),
    ]
    text = daemon.jcard.read_text()
    assert text.startswith(COMMENTED)
    for line in (
        'name = "engineer_alice"',
        f'workdir = "{workspace}"',
        'restart = "always"',
        'harness = "claude-code"',
    ):
        assert line in text
    assert f"+{line}" in done.err

    (workspace / "SOUL.md").unlink()
    again = client("hire", "engineer", "alice")
    assert (again.status, again.out) == (0, done.out)
    assert again.err == f"agentctl: agentd had claude-code trust {workspace}, in {daemon.home}/.claude.json\n"
    assert again.err in done.err
    assert daemon.jcard.read_text() == text
    assert not (workspace / "SOUL.md").exists()

    other: Any = client("hire", "reviewer", "bob", "--harness", "codex", "--prompt", "look", "--model", "m", "--json")
    document = other.document
    assert (document["name"], document["added"]) == ("reviewer_bob", True)
    assert document["pid"] == daemon.agents()["reviewer_bob"]["pid"]
    assert daemon.agents()["engineer_alice"]["pid"] == agent["pid"]
    assert 'mode = "interactive"' in daemon.jcard.read_text()


def test_an_agent_that_does_not_come_to_run_is_told_with_its_reason(client: Client, daemon: Daemon) -> None:
    done = client("hire", "cook", "eve", "--harness", "gemini-cli")
    assert (done.status, done.out) == (1, "")
    assert 'cannot find the program "gemini"' in done.err
    assert "cook_eve" in daemon.jcard.read_text()
    refused = client("hire", "cook", "bob", "--harness", "nonsense")
    assert refused.status == 1
    assert "nonsense" in refused.err
    assert "cook_bob" not in daemon.jcard.read_text()
    assert not (daemon.data / "workspaces" / "cook_bob").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["hire", "../engineer", "alice"],
        ["hire", "engineer", "../alice"],
        ["hire", "engineer", ".."],
        ["hire", "", "alice"],
        ["hire", "a/b", "c"],
        ["hire", "engineer", "x" * 60],
        ["init", ".."],
        ["init", "/etc"],
        ["init", "-x"],
    ],
)
def test_names_that_are_paths_are_a_usage_error(short_folder: Path, arguments: list[str]) -> None:
    client = Client(short_folder, {"AGENTD_DATA_DIR": str(short_folder / "data")})
    assert client(*arguments).status == 2
    assert not (short_folder / "data").exists()


def test_a_workspace_needs_no_daemon_and_is_never_overwritten(short_folder: Path) -> None:
    client = Client(short_folder, {"AGENTD_DATA_DIR": str(short_folder / "data")})
    folder = short_folder / "data" / "workspaces" / "engineer"
    made = client("init", "engineer")
    assert made.status == 0
    assert f"made {folder}/SOUL.md\n" in made.out
    (folder / "SOUL.md").write_text("mine")
    (folder / "memory" / "memory.md").unlink()
    assert client("init", "engineer").out == f"made {folder}/memory/memory.md\n"
    assert client("init", "engineer").out == f"{folder} exists already\n"
    assert (folder / "SOUL.md").read_text() == "mine"
    elsewhere: Any = client("init", "writer", "--workspace", "here", "--json").document
    assert elsewhere["workspace"] == str(short_folder / "here")
    assert "SOUL.md" in elsewhere["made"]


def test_hiring_without_a_daemon_changes_nothing(short_folder: Path) -> None:
    client = Client(short_folder, {"AGENTD_DATA_DIR": str(short_folder / "data")})
    done = client("hire", "engineer", "alice")
    assert done.status == 3
    assert list(short_folder.iterdir()) == []


@pytest.mark.skipif(not ROOT, reason="only root can run agents as another user")
def test_root_hires_for_the_agents_user(daemon: Daemon) -> None:
    account = pwd.getpwnam(OTHER)
    fake(daemon, "claude")
    tmux_folder = daemon.runtime / "tmux"
    tmux_folder.mkdir(mode=0o750)
    os.chown(tmux_folder, account.pw_uid, account.pw_gid)
    daemon.tmux_socket = tmux_folder / "tmux.sock"
    daemon.write_jcard(COMMENTED)
    daemon.start(f"--agent-user={OTHER}")
    done = client_of(daemon)("hire", "engineer", "alice")
    assert done.status == 0, done.err
    workspace = daemon.data / "workspaces" / "engineer_alice"
    assert {path.lstat().st_uid for path in [workspace, *workspace.rglob("*")]} == {account.pw_uid}
    assert folder_of(int(done.out.split()[1])) == workspace
