"""What worktrees meet in corners: stale knowledge, files of others, damaged notes."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, replace

import pytest

from agentd.process.runner import Runner, RunnerError
from agentd.worktrees import ensure
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.record import CREATING, RecordError, Worktree, list_worktrees, read_record, write_record
from agentd.worktrees.removal import Allowed, Removed, remove
from tests.worktrees.repositories import NOW, World, git, invoking_user


def with_stand_in(world: World, program: str, text: str) -> Git:
    """git with another program in the place of one that scripts call."""
    folder = world.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / program).write_text(f"#!/bin/sh\n{text}\n")
    (folder / program).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return Git(Runner(invoking_user(world.folder), {"PATH": path}), world.folder)


def test_one_that_others_had_in_hand_since_it_was_looked_at_stays(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    stale = Worktree(worktree.path, replace(worktree.record, under_way=CREATING))
    assert remove(world.git, stale, Allowed(force=True), NOW).kept == "it was changed just now; try again"
    assert (worktree.path / "new.txt").exists()


def test_one_that_was_never_finished_stays_while_somebody_is_in_it(world: World) -> None:
    worktree = world.make()
    record = replace(worktree.record, under_way=CREATING)
    write_record(world.git.runner, worktree.path, record)
    somebody = subprocess.Popen(["sleep", "600"], cwd=worktree.path)
    try:
        with pytest.raises(RunnerError, match=rf"processes are in it \({somebody.pid}\)"):
            remove(world.git, Worktree(worktree.path, record), Allowed(force=True), NOW)
    finally:
        somebody.kill()
        somebody.wait()
    assert (worktree.path / "a.txt").exists()


def test_files_whose_mode_cannot_be_changed_hinder_no_removal(world: World) -> None:
    worktree = world.make()
    removed = remove(with_stand_in(world, "chmod", "exit 1"), worktree, Allowed(), NOW)
    assert (removed.kept, removed.left) == (None, None)
    assert not list(worktree.path.parent.iterdir())


def test_what_cannot_be_deleted_is_said_and_in_nobodys_way(world: World) -> None:
    worktree = world.make()
    refusing = with_stand_in(
        world, "rm", 'case "$*" in -rf*removed) echo "not yours" >&2; exit 1 ;; esac; exec /bin/rm "$@"'
    )
    removed = remove(refusing, worktree, Allowed(), NOW)
    assert removed.kept is None
    assert "not yours" in (removed.left or "")
    assert any("branch agentd/alice" in command for command in removed.recover)
    ensure.ensure_worktree(refusing, world.checkout(), "alice", NOW)
    assert git(worktree.path, "branch", "--show-current") == "agentd/alice"


def test_a_worktree_that_cannot_make_room_is_known_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    worktree = world.make()
    kept = Removed(worktree.name, str(worktree.path), worktree.record.branch, "somebody came")
    monkeypatch.setattr(ensure, "remove", lambda *_: kept)
    with pytest.raises(GitError, match="somebody came"):
        world.make(world.checkout(branch="topic"))
    assert read_record(worktree.path) == worktree.record


def test_a_worktree_that_git_does_not_move_has_no_ghost(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    git(world.repo, "worktree", "lock", "--reason", "an operator's", worktree.path)
    with pytest.raises(GitError, match="lock"):
        world.make(world.checkout(branch="topic"))
    assert [found.name for found in list_worktrees(worktree.path.parent)[0]] == ["alice"]


@pytest.mark.parametrize("damage", ["{", "\0" * 40, "[" * 60_000, "a repo that is no path"])
def test_a_damaged_note_is_said(world: World, damage: str) -> None:
    worktree = world.make()
    if damage == "a repo that is no path":
        damage = json.dumps({**asdict(worktree.record), "repo": "a\0b"})
    worktree.path.with_name("alice.json").write_text(damage)
    with pytest.raises(RecordError, match="not a record of agentd's"):
        world.make()


def test_a_link_that_a_power_cut_zeroed_is_for_git_to_complain_of(world: World) -> None:
    worktree = world.make()
    (worktree.path / ".git").write_bytes(b"\0" * 60)
    ensure.needs_git(world.checkout())
