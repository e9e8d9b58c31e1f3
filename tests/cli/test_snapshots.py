"""snapshot, restore and worktrees restore, with real git and a real daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import Client
from tests.cli.test_worktrees import agent, client_of, worker
from tests.daemon.test_turns import SESSION, argv_of, resuming
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.worktrees.repositories import commit, git, make_repository


def started(daemon: Daemon) -> tuple[Client, Path]:
    """A daemon with an agent that has work in its worktree."""
    make_repository(daemon.folder / "shop")
    daemon.write_jcard(jcard(worker("alice"), agent("plain")))
    daemon.start()
    daemon.wait_state("alice", "running")
    tree = daemon.data / "worktrees" / "alice"
    (tree / "done.txt").write_text("committed\n")
    commit(tree, "work")
    (tree / "staged.txt").write_text("staged\n")
    git(tree, "add", "staged.txt")
    (tree / "new.txt").write_text("untracked\n")
    return client_of(daemon), tree


def test_an_agent_comes_back_as_it_was_when_it_was_saved(daemon: Daemon) -> None:
    client, tree = started(daemon)
    before = git(tree, "status", "--porcelain")
    done = client("snapshot", "ALICE")
    assert (done.status, done.err) == (0, "")
    assert f"branch agentd/alice at {git(tree, 'rev-parse', 'HEAD')}" in done.out
    assert git(tree, "status", "--porcelain") == before, "nothing of it was changed"
    (tree / "new.txt").unlink()
    (tree / "wrecked.txt").write_text("wreck\n")
    refused = client("restore", "alice")
    assert (refused.status, "alice is running: agentctl stop alice --wait first" in refused.err) == (1, True)
    assert client("stop", "alice", "--wait").status == 0
    done = client("restore", "alice")
    assert done.status == 0, done.err
    assert not (tree / "wrecked.txt").exists()
    assert git(tree, "status", "--porcelain") == before
    # What was wrecked is in a snapshot, too.
    wrecked, asked = sorted(json.loads(client("snapshot", "--list", "--json").out), key=lambda each: str(each["why"]))[
        ::-1
    ]
    assert (asked["why"], wrecked["why"]) == ("asked for", "its worktree was removed")
    assert client("worktrees", "restore", "alice", "--at", wrecked["stamp"]).status == 0
    assert (tree / "wrecked.txt").exists()
    assert client("start", "alice", "--wait").status == 0
    assert daemon.agents()["alice"]["state"] == "running"


@pytest.mark.thorough
def test_a_removed_worktree_is_restored_for_an_agent_that_nobody_declares(daemon: Daemon) -> None:
    client, tree = started(daemon)
    daemon.write_jcard(jcard(agent("plain")))
    daemon.wait_gone("alice")
    assert "refs/agentd/trash" in client("worktrees", "clean", "alice", "--force").out
    assert not tree.exists()
    done = client("worktrees", "restore", "Alice")
    assert (done.status, done.out.split(" as of ")[0]) == (0, "restored alice")
    assert (tree / "new.txt").read_text() == "untracked\n"
    assert client("worktrees", "list").out.split("\t")[:3] == ["alice", "not declared", "agentd/alice"]


@pytest.mark.thorough
def test_an_agent_is_carried_to_another_clone_with_its_definition(daemon: Daemon) -> None:
    client, tree = started(daemon)
    git(daemon.folder / "shop", "clone", "-q", daemon.folder / "shop", daemon.folder / "elsewhere")
    done = client("snapshot", "alice", "--output", "carried")
    assert done.status == 0, done.err
    folder = daemon.folder / "carried"
    assert (sorted(each.name for each in folder.iterdir()), folder.stat().st_mode & 0o077) == (
        ["snapshot.json", "work.bundle"],
        0,
    )
    assert client("remove", "alice", "--wait").status == 0
    assert client("worktrees", "clean", "alice", "--force").status == 0
    refused = client("restore", "plain", "--from", "carried")
    assert 'carried has a snapshot of "alice", not of "plain"' in refused.err
    done = client("restore", "alice", "--from", "carried", "--repo", "elsewhere")
    assert done.status == 0, done.err
    assert f"declared in {daemon.jcard}" in done.out
    daemon.wait_state("alice", "running")
    assert (tree / "new.txt").read_text() == "untracked\n"
    common = git(tree, "rev-parse", "--path-format=absolute", "--git-common-dir")
    assert common == str(daemon.folder / "elsewhere" / ".git")


def test_what_is_not_there_or_not_saved_is_said(daemon: Daemon) -> None:
    client, tree = started(daemon)
    make_repository(tree / "inner")
    done = client("snapshot", "alice")
    assert (done.status, "not saved: repositories inner" in done.err) == (0, True)
    assert 'there is no agent "nobody"' in client("snapshot", "nobody").err
    assert "expected the NAME of an agent, or --list" in client("snapshot").err
    assert 'there is no snapshot of "plain"' in client("restore", "plain").err
    assert 'there is no snapshot of "alice" of "yesterday"' in client("restore", "alice", "--at", "yesterday").err
    assert "expected the NAME of a worktree" in client("worktrees", "restore").err
    assert client("snapshot", "--list", "plain").out == ""


@pytest.mark.thorough
def test_a_conversation_that_agentd_has_forgotten_goes_on_after_a_restoration(daemon: Daemon) -> None:
    claude = resuming(daemon)
    claude.hook_done("UserPromptSubmit", prompt_id="p1", prompt="go")
    claude.wait_activity("working")
    client, file = client_of(daemon), daemon.state / "conversations.json"
    daemon.wait_for(file.exists, what="it is remembered")
    assert f"  conversation {SESSION}" in client("snapshot", "a").out
    assert client("stop", "a", "--wait").status == 0
    daemon.kill()
    file.unlink()
    (claude.workdir / "claude.argv").unlink()
    daemon.start("--on-shutdown=keep")
    done = client("restore", "a")
    assert (done.status, done.err) == (0, "")
    assert client("start", "a", "--wait").status == 0
    daemon.wait_for((claude.workdir / "claude.argv").exists, what="it runs again")
    argv = argv_of(claude)
    assert argv[argv.index("--resume") + 1] == SESSION
