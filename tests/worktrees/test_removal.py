"""Cleaning never loses work: every way a worktree can hold some, against every permission to remove it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.worktrees.git import GitError
from agentd.worktrees.inspect import Work, inspect
from agentd.worktrees.record import Worktree
from agentd.worktrees.removal import Allowed, Removed, remove, verdict
from agentd.worktrees.trash import TRASH
from tests.support.thorough import everyday
from tests.worktrees.repositories import NOW, World, commit, git, make_repository

Setting = Callable[[World, Path], None]


def staged(_: World, tree: Path) -> None:
    (tree / "a.txt").write_text("staged work\n")
    git(tree, "add", "a.txt")


def changed(_: World, tree: Path) -> None:
    (tree / "a.txt").write_text("changed work\n")


def staged_and_changed_back(_: World, tree: Path) -> None:
    before = (tree / "a.txt").read_text()
    (tree / "a.txt").write_text("staged work\n")
    git(tree, "add", "a.txt")
    (tree / "a.txt").write_text(before)


def deleted(_: World, tree: Path) -> None:
    (tree / "a.txt").unlink()


def made_executable(_: World, tree: Path) -> None:
    (tree / "a.txt").chmod(0o755)


def untracked(_: World, tree: Path) -> None:
    (tree / "new").mkdir()
    (tree / "new" / "file.txt").write_text("new work\n")


def untracked_though_settings_hide_it(world: World, tree: Path) -> None:
    git(world.repo, "config", "status.showUntrackedFiles", "no")
    untracked(world, tree)


def committed(_: World, tree: Path) -> None:
    (tree / "a.txt").write_text("committed work\n")
    commit(tree, "work")


def committed_on_a_detached_head(_: World, tree: Path) -> None:
    git(tree, "checkout", "-q", "--detach")
    (tree / "a.txt").write_text("committed work\n")
    commit(tree, "work")


def conflicted(world: World, tree: Path) -> None:
    (tree / "a.txt").write_text("ours\n")
    commit(tree, "ours")
    (world.repo / "a.txt").write_text("theirs\n")
    commit(world.repo, "theirs")
    git(tree, "merge", "main", check=False)


def rebase_under_way(world: World, tree: Path) -> None:
    conflicted(world, tree)
    git(tree, "merge", "--abort")
    git(tree, "rebase", "main", check=False)


def assumed_unchanged(_: World, tree: Path) -> None:
    git(tree, "update-index", "--assume-unchanged", "a.txt")
    (tree / "a.txt").write_text("hidden work\n")


def skipped_in_the_worktree(_: World, tree: Path) -> None:
    git(tree, "update-index", "--skip-worktree", "a.txt")
    (tree / "a.txt").write_text("hidden work\n")


def committed_then_folder_deleted(world: World, tree: Path) -> None:
    committed(world, tree)
    subprocess.run(["rm", "-r", tree], check=True)


def squashed_elsewhere(world: World, tree: Path) -> None:
    """The same change is on main, as another commit: git cannot tell that it is the same."""
    committed(world, tree)
    git(world.repo, "merge", "--squash", "agentd/alice")
    (world.repo / "b.txt").write_text("more\n")
    commit(world.repo, "squashed")


HOLDING = (
    staged,
    changed,
    staged_and_changed_back,
    deleted,
    made_executable,
    untracked,
    untracked_though_settings_hide_it,
    committed,
    committed_on_a_detached_head,
    conflicted,
    rebase_under_way,
    assumed_unchanged,
    skipped_in_the_worktree,
    committed_then_folder_deleted,
    squashed_elsewhere,
)
MOST = (
    staged,
    changed,
    untracked,
    committed,
    committed_on_a_detached_head,
    rebase_under_way,
    assumed_unchanged,
    committed_then_folder_deleted,
)
"""Those that take other ways through what is looked at and saved."""


def contents(tree: Path) -> dict[str, bytes]:
    """Every file of a worktree, those of git left aside."""
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and path.name != ".git"
    }


def clean(world: World, worktree: Worktree, *, force: bool = False, ignored: bool = False) -> Removed:
    return remove(world.git, worktree, Allowed(force=force, ignored=ignored), NOW)


@pytest.mark.parametrize("hold", everyday(MOST, HOLDING), ids=lambda hold: hold.__name__)
def test_work_that_is_nowhere_else_is_kept_untouched(world: World, hold: Setting) -> None:
    worktree = world.make()
    hold(world, worktree.path)
    before = contents(worktree.path), git(world.repo, "for-each-ref")
    result = clean(world, worktree, ignored=True)
    assert result.kept is not None
    assert "--force" in result.kept
    assert (contents(worktree.path), git(world.repo, "for-each-ref")) == before


@pytest.mark.parametrize("hold", everyday(MOST, HOLDING), ids=lambda hold: hold.__name__)
def test_with_force_the_work_is_gone_and_the_printed_commands_bring_it_back(world: World, hold: Setting) -> None:
    worktree = world.make()
    hold(world, worktree.path)
    before = contents(worktree.path)
    tip = git(world.repo, "rev-parse", "agentd/alice")
    result = clean(world, worktree, force=True)
    assert result.kept is None
    assert result.lost
    assert not worktree.path.exists()
    assert "agentd/alice" not in git(world.repo, "branch", "--list", "--format=%(refname:short)").split()
    assert result.recover
    git(world.repo, "gc", "--quiet", "--prune=now")
    for command in result.recover:
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert git(world.repo, "rev-parse", "agentd/alice") == tip
    saved = git(world.repo, "for-each-ref", "--format=%(refname)", TRASH).split()
    assert saved
    if before:
        # The most complete of them holds every byte that was there.
        best = next(ref for kind in ("work", "head", "branch") for ref in saved if ref.endswith(f"/{kind}"))
        again = world.folder / "again"
        git(world.repo, "worktree", "add", "-q", "--detach", again, best)
        assert contents(again) == before


def test_what_was_staged_and_differs_is_saved_too(world: World) -> None:
    worktree = world.make()
    staged_and_changed_back(world, worktree.path)
    clean(world, worktree, force=True)
    [work] = git(world.repo, "for-each-ref", "--format=%(refname)", f"{TRASH}/").split()[1:]
    assert git(world.repo, "show", f"{work}^2:a.txt") == "staged work"


def nothing(_: World, __: Path) -> None:
    pass


def merged(world: World, tree: Path) -> None:
    committed(world, tree)
    git(world.repo, "merge", "-q", "agentd/alice")


def pushed(world: World, tree: Path) -> None:
    committed(world, tree)
    git(world.repo, "init", "-q", "--bare", world.folder / "origin.git")
    git(world.repo, "remote", "add", "origin", str(world.folder / "origin.git"))
    git(tree, "push", "-q", "origin", "HEAD:topic")


def on_another_branch(world: World, tree: Path) -> None:
    git(tree, "switch", "-q", "-c", "topic")
    committed(world, tree)


def stashed(world: World, tree: Path) -> None:
    changed(world, tree)
    git(tree, "stash")


@pytest.mark.parametrize(
    "hold",
    everyday([merged, stashed], [nothing, merged, pushed, on_another_branch, stashed]),
    ids=lambda hold: hold.__name__,
)
def test_what_is_also_elsewhere_may_go_and_is_still_elsewhere(world: World, hold: Setting) -> None:
    worktree = world.make()
    hold(world, worktree.path)
    before = set(git(world.repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines())
    tip = git(world.repo, "rev-parse", "agentd/alice")
    result = clean(world, worktree)
    assert (result.kept, result.lost) == (None, ())
    assert not worktree.path.exists()
    assert not worktree.path.with_name("alice.json").exists()
    after = set(git(world.repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines())
    assert before - after == {f"refs/heads/agentd/alice {tip}"}
    assert result.recover == (f"git -C {world.repo} branch agentd/alice {tip}",)


def test_ignored_files_keep_a_worktree_until_they_may_go(world: World) -> None:
    worktree = world.make()
    (worktree.path / "build").mkdir()
    (worktree.path / "build" / "out").write_text("x")
    (worktree.path / "server.log").write_text("x")
    for force in (False, True):
        result = clean(world, worktree, force=force)
        assert result.kept is not None
        assert "2 ignored files or folders (build/, server.log); --ignored" in result.kept
        assert "--force" not in result.kept
    assert (worktree.path / "server.log").exists()
    assert clean(world, worktree, ignored=True).kept is None


def nested_repository(_: World, tree: Path) -> None:
    git(tree, "init", "-q", "vendor")
    (tree / "vendor" / "x").write_text("x")
    commit(tree / "vendor", "inside")


def submodule(world: World, tree: Path) -> None:
    other = make_repository(world.folder / "library")
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "library")


def locked(_: World, tree: Path) -> None:
    git(tree, "worktree", "lock", "--reason", "on a stick", str(tree))


@pytest.mark.parametrize("hold", [nested_repository, submodule, locked], ids=lambda hold: hold.__name__)
def test_what_cannot_be_saved_or_is_locked_stays_even_with_force(world: World, hold: Setting) -> None:
    worktree = world.make()
    hold(world, worktree.path)
    before = contents(worktree.path)
    assert clean(world, worktree, force=True, ignored=True).kept is not None
    assert contents(worktree.path) == before


def test_a_worktree_that_a_process_is_in_stays(world: World) -> None:
    worktree = world.make()
    with subprocess.Popen(["sleep", "600"], cwd=worktree.path) as process:
        result = clean(world, worktree, force=True, ignored=True)
        process.kill()
    assert result.kept == f"processes are in it ({process.pid})"
    assert clean(world, worktree).kept is None


def test_a_folder_that_became_another_repository_is_no_business_of_agentds(world: World) -> None:
    worktree = world.make()
    (worktree.path / ".git").unlink()
    git(worktree.path, "init", "-q")
    with pytest.raises(GitError, match="no longer a worktree"):
        clean(world, worktree, force=True, ignored=True)
    (worktree.path / ".git").rename(worktree.path / "git")
    with pytest.raises(GitError):
        clean(world, worktree, force=True, ignored=True)
    assert (worktree.path / "a.txt").exists()


def test_a_folder_that_is_gone_is_forgotten(world: World) -> None:
    worktree = world.make()
    subprocess.run(["rm", "-r", worktree.path], check=True)
    assert clean(world, worktree).kept is None
    assert "agentd/alice" not in git(world.repo, "branch", "--list")
    assert str(worktree.path) not in git(world.repo, "worktree", "list")


def test_a_write_protected_checkout_can_be_removed(world: World) -> None:
    worktree = world.make(world.checkout(branch=None))
    assert clean(world, worktree).kept is None
    assert not worktree.path.exists()


def test_hooks_of_the_repository_are_not_run(world: World) -> None:
    for name in ("post-checkout", "reference-transaction", "pre-commit", "post-index-change"):
        hook = world.repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {world.folder}/ran\n")
        hook.chmod(0o755)
    git(world.repo, "config", "core.fsmonitor", f"touch {world.folder}/ran; false")
    worktree = world.make()
    changed(world, worktree.path)
    (world.folder / "ran").unlink(missing_ok=True)
    assert inspect(world.git, worktree).uncommitted == ("a.txt",)
    assert clean(world, worktree, force=True).kept is None
    assert not (world.folder / "ran").exists()


paths = st.lists(st.text(min_size=1, max_size=5), max_size=5).map(tuple)


@given(
    st.builds(
        Work,
        uncommitted=paths,
        hidden=paths,
        ignored=paths,
        nested=paths,
        unmerged=st.integers(0, 3),
        under_way=st.none() | st.just("a rebase"),
        locked=st.none() | st.just(""),
        users=st.lists(st.integers(1, 99), max_size=2).map(tuple),
    ),
    st.booleans(),
    st.booleans(),
)
def test_only_what_was_allowed_to_go_lets_a_worktree_go(work: Work, force: bool, ignored: bool) -> None:
    work_there = bool(work.uncommitted or work.hidden or work.unmerged or work.under_way)
    may_go = (
        not (work.nested or work.users or work.locked is not None)
        and (force or not work_there)
        and (ignored or not work.ignored)
    )
    assert (verdict(work, Allowed(force=force, ignored=ignored)) is None) is may_go
