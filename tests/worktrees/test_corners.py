"""What worktrees meet in corners: stale knowledge, files of others, damaged notes."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, replace

import pytest

from agentd.process.runner import Runner, RunnerError
from agentd.worktrees import create as making
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.record import MAKING, HeldError, Place, all_held, read_held, write_held
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
    place = world.make()
    (place.path / "new.txt").write_text("work\n")
    stale = Place(place.name, place.path, replace(place.held, under_way=MAKING))
    assert remove(world.git, stale, Allowed(force=True), NOW).kept == "it was changed just now; try again"
    assert (place.path / "new.txt").exists()


def test_one_that_was_never_finished_stays_while_somebody_is_in_it(world: World) -> None:
    place = world.make()
    held = replace(place.held, under_way=MAKING)
    write_held(world.git.runner, place.path, held)
    somebody = subprocess.Popen(["sleep", "600"], cwd=place.path)
    try:
        with pytest.raises(RunnerError, match=rf"processes are in it \({somebody.pid}\)"):
            remove(world.git, Place(place.name, place.path, held), Allowed(force=True), NOW)
    finally:
        somebody.kill()
        somebody.wait()
    assert (place.path / "a.txt").exists()


def test_files_whose_mode_cannot_be_changed_hinder_no_removal(world: World) -> None:
    place = world.make()
    removed = remove(with_stand_in(world, "chmod", "exit 1"), place, Allowed(), NOW)
    assert (removed.kept, removed.left) == (None, None)
    assert not list(place.path.parent.iterdir())


def test_what_cannot_be_deleted_is_said_and_in_nobodys_way(world: World) -> None:
    place = world.make()
    refusing = with_stand_in(
        world, "rm", 'case "$*" in -rf*removed) echo "not yours" >&2; exit 1 ;; esac; exec /bin/rm "$@"'
    )
    removed = remove(refusing, place, Allowed(), NOW)
    assert removed.kept is None
    assert "not yours" in (removed.left or "")
    assert any("branch agentd/alice" in command for command in removed.recover)
    making.ensure_worktree(refusing, world.checkout(), "alice", NOW)
    assert git(place.path, "branch", "--show-current") == "agentd/alice"


def test_a_worktree_that_cannot_make_room_is_known_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    place = world.make()
    kept = Removed(place.name, str(place.path), place.held.branch, "somebody came")
    monkeypatch.setattr(making, "remove", lambda *_: kept)
    with pytest.raises(GitError, match="somebody came"):
        world.make(world.checkout(branch="topic"))
    assert read_held(place.path) == place.held


def test_a_worktree_that_git_does_not_move_has_no_ghost(world: World) -> None:
    place = world.make()
    (place.path / "new.txt").write_text("work\n")
    git(world.repo, "worktree", "lock", "--reason", "an operator's", place.path)
    with pytest.raises(GitError, match="lock"):
        world.make(world.checkout(branch="topic"))
    assert [found.name for found in all_held(place.path.parent)[0]] == ["alice"]


@pytest.mark.parametrize("damage", ["{", "\0" * 40, "[" * 60_000, "a repo that is no path"])
def test_a_damaged_note_is_said(world: World, damage: str) -> None:
    place = world.make()
    if damage == "a repo that is no path":
        damage = json.dumps({**asdict(place.held), "repo": "a\0b"})
    place.path.with_name("alice.json").write_text(damage)
    with pytest.raises(HeldError, match="none of agentd's"):
        world.make()


def test_a_link_that_a_power_cut_zeroed_is_for_git_to_complain_of(world: World) -> None:
    place = world.make()
    (place.path / ".git").write_bytes(b"\0" * 60)
    making.needs_git(world.checkout())
