"""Worktrees brought back from what was saved of them."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.model.user import AgentUser
from agentd.process.runner import Runner
from agentd.worktrees.cleanup import remove_unfinished
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.inspect import CREATION_LOCK, inspect
from agentd.worktrees.record import CREATING, RecordError, Worktree, read_record, write_record
from agentd.worktrees.restore import fetch_bundle, restore_worktree
from agentd.worktrees.snapshots import (
    FOLDER,
    SavedRef,
    SavedWorktree,
    Snapshot,
    list_snapshots,
    read_snapshot,
    write_snapshot,
)
from agentd.worktrees.trash import SNAPSHOTS, save_work
from tests.support.thorough import everyday
from tests.worktrees.repositories import NOW, World, commit, git, make_repository
from tests.worktrees.test_removal import HOLDING, Setting, clean, committed, contents, staged, untracked

LOST = {"conflicted", "rebase_under_way"}
"""Of these the files come back, but not git's own state."""


def status(tree: Path) -> str:
    return git(tree, "status", "--porcelain=v2", "--untracked-files=all")


def saved(world: World, worktree: Worktree, now: float = NOW) -> SavedWorktree:
    return save_work(world.git, worktree, inspect(world.git, worktree), now, SNAPSHOTS)


def restore(world: World, worktree: Worktree, kept: SavedWorktree, *, ignored: bool = False) -> None:
    restore_worktree(world.git, worktree.path, kept, NOW + 1, ignored=ignored)


def removed(world: World, worktree: Worktree) -> SavedWorktree:
    assert clean(world, worktree, force=True).kept is None
    [found], problems = list_snapshots(world.folder, worktree.name)
    assert (problems, found.worktree is not None) == ([], True)
    assert found.worktree is not None
    return found.worktree


@pytest.mark.parametrize(
    "hold",
    everyday((staged, untracked, committed), [each for each in HOLDING if "folder_deleted" not in each.__name__]),
)
def test_a_removed_worktree_comes_back_with_all_its_work(world: World, hold: Setting) -> None:
    worktree = world.make()
    hold(world, worktree.path)
    git(world.repo, "gc", "--quiet")
    hidden = bool(inspect(world.git, worktree).hidden)
    before = (
        contents(worktree.path),
        status(worktree.path),
        git(worktree.path, "symbolic-ref", "-q", "HEAD", check=False),
    )
    tips = git(worktree.path, "rev-parse", "HEAD"), git(world.repo, "rev-parse", "agentd/alice")
    kept = removed(world, worktree)
    assert not worktree.path.exists()
    git(world.repo, "gc", "--quiet", "--prune=now")
    restore(world, worktree, kept)
    now = contents(worktree.path), status(worktree.path), git(worktree.path, "symbolic-ref", "-q", "HEAD", check=False)
    assert now[0] == before[0]
    assert (git(worktree.path, "rev-parse", "HEAD"), git(world.repo, "rev-parse", "agentd/alice")) == tips
    if hold.__name__ not in LOST and not hidden:
        assert now == before
    assert read_record(worktree.path) == worktree.record
    assert CREATION_LOCK not in git(world.repo, "worktree", "list", "--porcelain")
    # The agent's next run uses it.
    assert world.make() == worktree
    assert contents(worktree.path) == before[0]


def test_what_is_there_is_saved_before_an_older_state_comes_back(world: World) -> None:
    worktree = world.make()
    untracked(world, worktree.path)
    kept, before = saved(world, worktree), contents(worktree.path)
    (worktree.path / "wrecked.txt").write_text("later\n")
    commit(worktree.path, "later work")
    tip = git(world.repo, "rev-parse", "agentd/alice")
    restore(world, worktree, kept)
    assert contents(worktree.path) == before
    [found], _ = list_snapshots(world.folder, "ALICE")
    assert found.worktree is not None
    assert found.worktree.branch is not None
    assert found.worktree.branch.commit == tip
    # And back again.
    restore_worktree(world.git, worktree.path, found.worktree, NOW + 2, ignored=False)
    assert (worktree.path / "wrecked.txt").read_text() == "later\n"


def test_nothing_is_restored_over_what_cannot_be_saved_or_over_a_branch_that_went_on(world: World) -> None:
    worktree = world.make()
    untracked(world, worktree.path)
    kept = saved(world, worktree)
    (world.repo / ".git/info").mkdir(exist_ok=True)
    (world.repo / ".git/info/exclude").write_text("*.log\n")
    (worktree.path / "own.log").write_text("ignored\n")
    with pytest.raises(GitError, match="ignored"):
        restore(world, worktree, kept)
    assert (worktree.path / "own.log").exists()
    restore(world, worktree, kept, ignored=True)
    assert not (worktree.path / "own.log").exists()

    clean(world, worktree, force=True)
    git(world.repo, "branch", "agentd/alice", commit_elsewhere(world))
    with pytest.raises(GitError, match=r"the branch agentd/alice is at .* now, and was at .*: rename it"):
        restore(world, worktree, kept)
    git(world.repo, "branch", "-D", "agentd/alice")
    worktree.path.mkdir()
    (worktree.path / "somebodys").touch()
    with pytest.raises(GitError, match="is in the way, and no worktree of agentd's"):
        restore(world, worktree, kept)
    assert (worktree.path / "somebodys").exists()


def commit_elsewhere(world: World) -> str:
    (world.repo / "elsewhere.txt").write_text("main\n")
    return commit(world.repo, "elsewhere")


def test_a_ref_that_was_let_go_is_named(world: World) -> None:
    worktree = world.make()
    untracked(world, worktree.path)
    kept = removed(world, worktree)
    gone = replace(kept, work=SavedRef(kept.work.ref, "1" * 40) if kept.work is not None else None)
    with pytest.raises(GitError, match=r"does not have 1{40}, which refs/agentd/trash/alice/.*/work kept"):
        restore(world, worktree, gone)


def test_a_restoration_that_was_interrupted_is_cleared_away_and_can_be_repeated(world: World) -> None:
    worktree = world.make()
    untracked(world, worktree.path)
    before = contents(worktree.path)
    kept = removed(world, worktree)
    restore(world, worktree, kept)
    # As a restoration leaves it that is killed before its last steps.
    write_record(world.git.runner, worktree.path, replace(worktree.record, under_way=CREATING))
    git(world.repo, "worktree", "lock", "--reason", CREATION_LOCK, worktree.path)
    remove_unfinished(world.git, world.worktree(worktree.path), NOW)
    assert not worktree.path.exists()
    restore(world, worktree, kept)
    assert contents(worktree.path) == before


def test_a_read_only_checkout_comes_back_write_protected(world: World) -> None:
    worktree = world.make(world.checkout(branch=None))
    kept = saved(world, worktree)
    assert clean(world, worktree).kept is None
    restore(world, worktree, kept)
    assert not any(path.stat().st_mode & 0o222 for path in worktree.path.glob("*.txt"))


FORGED = {
    "version": ({"version": 9}, "version 9, expected 1"),
    "ref": ({"worktree": {"branch": {"ref": "refs/heads/main", "commit": "1" * 40}}}, "worktree.branch.ref"),
    "commit": ({"worktree": {"branch": {"commit": "--upload-pack=x"}}}, "worktree.branch.commit"),
    "option": ({"worktree": {"record": {"branch": "--orphan"}}}, "expected no git option"),
    "relative": ({"worktree": {"record": {"repo": "shop"}}}, "expected an absolute path as repo"),
    "stamp": ({"stamp": "../../x"}, "expected a time as stamp"),
    "name": ({"name": "../alice"}, "name"),
    "no object": ([], "not a snapshot of agentd's"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_snapshot_that_agentd_did_not_write_is_refused_with_the_reason(world: World, forged: str) -> None:
    worktree = world.make()
    untracked(world, worktree.path)
    snapshot = Snapshot.taken("alice", NOW, "asked for", saved(world, worktree))
    file = write_snapshot(world.git.runner, world.folder, snapshot)
    assert read_snapshot(file) == snapshot
    assert file.stat().st_mode & 0o077 == 0
    change, told = FORGED[forged]
    document = json.loads(file.read_text())
    file.write_text(json.dumps(_merged(document, change) if isinstance(change, dict) else change))
    with pytest.raises(RecordError, match=told):
        read_snapshot(file)
    found, [problem] = list_snapshots(world.folder, None)
    assert (found, told in problem) == ([], True)


def _merged(document: dict[str, object], change: dict[str, object]) -> dict[str, object]:
    merged = dict(document)
    for key, value in change.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def test_a_snapshot_is_no_link_to_another_file_and_counts_under_its_own_name_only(world: World) -> None:
    file = write_snapshot(world.git.runner, world.folder, Snapshot.taken("alice", NOW, "asked for", None))
    other = file.parent.with_name("bob")
    other.mkdir()
    (other / file.name).write_bytes(file.read_bytes())
    os.mkfifo(world.folder / FOLDER / "bob" / "fifo.json")
    found, problems = list_snapshots(world.folder, None)
    assert [each.name for each in found] == ["alice"]
    assert len(problems) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that the agents' user may not read")
def test_a_bundle_that_only_root_may_read_is_fetched_by_another_user(short_folder: Path) -> None:
    """As a folder of `agentctl snapshot --output` is; nothing of it is left beside the worktrees."""
    other = pwd.getpwnam("daemon")
    repo, carried, beside = short_folder / "shop", short_folder / "carried", short_folder / "data"
    source = make_repository(short_folder / "source")
    make_repository(repo)
    for folder in (carried, beside):
        folder.mkdir(mode=0o700)
    ref = "refs/agentd/snapshots/a/20260101T000000.000000Z/work"
    git(source, "update-ref", ref, "HEAD")
    git(source, "bundle", "create", "-q", carried / "work.bundle", ref)
    subprocess.run(["chown", "-R", "daemon:", repo, beside], check=True)
    user = AgentUser("daemon", other.pw_uid, other.pw_gid, (), short_folder, "/bin/sh", switch=True)
    runner = Runner(user, {"PATH": os.environ["PATH"]})
    fetch_bundle(Git(runner, short_folder), repo, carried / "work.bundle", [ref], beside)
    own = ("-c", "safe.directory=*")
    assert git(repo, *own, "rev-parse", ref) == git(source, "rev-parse", "HEAD")
    assert list(beside.iterdir()) == []
    (beside / "mine").symlink_to(carried / "work.bundle")
    with pytest.raises(GitError, match="cannot copy"):
        fetch_bundle(Git(runner, short_folder), repo, beside / "mine", [ref], beside)
    with pytest.raises(GitError, match=r"gone\.bundle.*No such file"):
        fetch_bundle(Git(runner, short_folder), repo, carried / "gone.bundle", [ref], beside)
