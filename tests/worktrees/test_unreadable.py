"""Worktrees and repositories of which nothing can be said: each error names what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentd.worktrees.changes import read_changes, read_repository_changes
from agentd.worktrees.git import GitError
from agentd.worktrees.record import RecordError, list_worktrees
from tests.worktrees.repositories import World, commit, git

GONE = "0123456789" * 4


def test_a_worktree_on_a_branch_without_a_commit_has_nothing_to_compare_with(world: World) -> None:
    tree = world.make().path
    git(tree, "checkout", "-q", "--orphan", "new")
    with pytest.raises(GitError, match=f"{tree} has no commit to compare with"):
        read_changes(world.git, world.worktree(tree))


def test_a_start_that_the_repository_no_longer_has_is_named(world: World) -> None:
    worktree = world.make()
    lost = replace(worktree, record=replace(worktree.record, base_ref=None, base_commit=GONE))
    with pytest.raises(GitError, match=f"{worktree.path} began at commit {GONE}, which {world.repo} no longer has"):
        read_changes(world.git, lost)


def test_a_repositorys_own_folder_is_compared_with_a_commit_that_it_has(world: World) -> None:
    start = git(world.repo, "rev-parse", "HEAD")
    (world.repo / "b.txt").write_text("two\n")
    commit(world.repo, "later")
    (world.repo / "c.txt").write_text("untracked\n")
    changes = read_repository_changes(world.git, world.repo, start)
    assert [(file.status, file.path) for file in changes.files()] == [("A", "b.txt"), ("A", "c.txt")]
    with pytest.raises(GitError, match=f"{world.repo} has no commit {GONE} any more to compare with"):
        read_repository_changes(world.git, world.repo, GONE)


def test_a_folder_of_worktrees_that_is_none_is_named(tmp_path: Path) -> None:
    assert list_worktrees(tmp_path / "missing") == ([], [])
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=f"cannot list {tmp_path}/file: Not a directory"):
        list_worktrees(tmp_path / "file")
