"""What an agent changed: committed, uncommitted and untracked, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.worktrees.changes import read_changes
from agentd.worktrees.git import GitError
from tests.worktrees.repositories import World, commit, git, make_repository


def test_everything_since_the_start_is_one_patch_that_git_applies(world: World, tmp_path: Path) -> None:
    tree = world.make().path
    (tree / "a.txt").write_text("one\n2\n")
    commit(tree, "committed: ä")
    (tree / "staged.txt").write_text("staged\n")
    git(tree, "add", "staged.txt")
    (tree / "new ü.txt").write_text("untracked\n")
    (tree / "binary").write_bytes(bytes(range(256)))
    (tree / ".gitignore").unlink()
    (tree / "link").symlink_to("a.txt")
    (tree / "server.log").write_text("no longer ignored\n")
    index = git(tree, "ls-files", "--stage"), git(tree, "status", "--porcelain")

    changes = read_changes(world.git, world.worktree(tree))
    assert [(file.status, file.path) for file in changes.files()] == [
        ("D", ".gitignore"),
        ("M", "a.txt"),
        ("A", "binary"),
        ("A", "link"),
        ("A", "new ü.txt"),
        ("A", "server.log"),
        ("A", "staged.txt"),
    ]
    by_path = {file.path: (file.added, file.removed) for file in changes.files()}
    assert (by_path["a.txt"], by_path["binary"]) == ((1, 1), (None, None))
    assert [commit.subject for commit in changes.commits()] == ["committed: ä"]
    assert "7 files changed" in changes.stat().decode()
    patch = tmp_path / "p"
    patch.write_bytes(changes.patch())
    git(world.repo, "apply", "--index", str(patch))
    assert (world.repo / "binary").read_bytes() == bytes(range(256))
    assert (world.repo / "link").readlink() == Path("a.txt")
    assert git(world.repo, "write-tree") == changes.tree
    assert (git(tree, "ls-files", "--stage"), git(tree, "status", "--porcelain")) == index
    assert sorted(path.name for path in (world.repo / ".git/worktrees/alice").glob("agentd-*")) == []


def test_what_git_ignores_is_no_change_and_what_it_was_told_not_to_see_is_one(world: World) -> None:
    tree = world.make().path
    (tree / "server.log").write_text("ignored\n")
    assert read_changes(world.git, world.worktree(tree)).files() == []
    git(tree, "update-index", "--assume-unchanged", "a.txt")
    (tree / "a.txt").write_text("hidden\n")
    assert [file.path for file in read_changes(world.git, world.worktree(tree)).files()] == ["a.txt"]


def test_what_came_from_the_base_since_is_not_the_agents(world: World) -> None:
    tree = world.make().path
    (tree / "new.txt").write_text("work\n")
    commit(tree, "work")
    (world.repo / "b.txt").write_text("theirs\n")
    commit(world.repo, "theirs")
    git(tree, "rebase", "-q", "main")
    assert [file.path for file in read_changes(world.git, world.worktree(tree)).files()] == ["new.txt"]


def test_what_was_merged_is_still_shown(world: World) -> None:
    tree = world.make().path
    (tree / "new.txt").write_text("work\n")
    commit(tree, "work")
    git(world.repo, "merge", "-q", "agentd/alice")
    assert [file.path for file in read_changes(world.git, world.worktree(tree)).files()] == ["new.txt"]


def test_a_worktree_in_conflict_is_shown_as_it_lies_there(world: World) -> None:
    tree = world.make().path
    (tree / "a.txt").write_text("ours\n")
    commit(tree, "ours")
    (world.repo / "a.txt").write_text("theirs\n")
    commit(world.repo, "theirs")
    git(tree, "merge", "main", check=False)
    patch = read_changes(world.git, world.worktree(tree)).patch().decode()
    assert "+<<<<<<< HEAD" in patch


def test_external_diff_programs_of_the_repository_are_not_run(world: World) -> None:
    tree = world.make().path
    git(world.repo, "config", "diff.external", f"touch {world.folder}/ran")
    git(world.repo, "config", "diff.evil.textconv", f"touch {world.folder}/ran; cat")
    (tree / ".gitattributes").write_text("*.txt diff=evil\n")
    (tree / "a.txt").write_text("changed\n")
    changes = read_changes(world.git, world.worktree(tree))
    assert "+changed" in changes.patch().decode()
    changes.stat(), changes.files()
    assert not (world.folder / "ran").exists()


def test_contents_are_those_of_the_worktree_now(world: World) -> None:
    tree = world.make().path
    many = {f"f{number}": f"{number}\n" for number in range(250)}
    for name, text in many.items():
        (tree / name).write_text(text)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    changes = read_changes(world.git, world.worktree(tree))
    files = changes.tree_files(frozenset({*many, "run"}))
    found = {file.path: bytearray() for file in files}
    changes.read(files, lambda file: found[file.path].extend, 1_000_000)
    assert {name: found[name].decode() for name in many} == many
    assert found["run"] == b"#!/bin/sh\n"
    assert [file.mode for file in files if file.path == "run"] == ["100755"]
    with pytest.raises(GitError, match="larger than 100 bytes together"):
        changes.read(files, lambda file: found[file.path].extend, 100)
    with pytest.raises(GitError, match="printed more than 100 bytes"):
        changes.patch(most=100)


def test_a_repository_inside_the_worktree_is_named_by_its_commit(world: World) -> None:
    tree = world.make().path
    make_repository(tree / "vendor")
    assert [file.path for file in read_changes(world.git, world.worktree(tree)).files()] == ["vendor"]
