"""A worktree is made once, used again, and makes room without losing anything."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest
from structlog.testing import capture_logs

from agentd.model.spec import Checkout
from agentd.process.runner import Runner, RunnerError
from agentd.worktrees.changes import read_changes
from agentd.worktrees.ensure import ensure_worktree, needs_git
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.inspect import CREATION_LOCK, inspect
from agentd.worktrees.record import RecordError, list_worktrees, read_record
from agentd.worktrees.removal import Allowed, remove
from tests.support.thorough import everyday
from tests.worktrees.repositories import NOW, World, commit, git, invoking_user, make_repository


def branch_of(tree: Path) -> str:
    return git(tree, "branch", "--show-current")


def test_a_worktree_has_its_own_branch_from_what_is_checked_out(world: World) -> None:
    worktree = world.make()
    assert branch_of(worktree.path) == "agentd/alice"
    assert git(worktree.path, "rev-parse", "HEAD") == git(world.repo, "rev-parse", "main")
    record = worktree.record
    assert (record.agent, record.repo, record.branch, record.base) == ("alice", str(world.repo), "agentd/alice", None)
    assert (record.base_ref, record.base_commit) == ("refs/heads/main", git(world.repo, "rev-parse", "main"))
    assert record.made == "2026-02-02T02:40:00Z"
    assert git(world.repo, "status", "--porcelain") == ""


def test_one_that_is_there_is_used_again_without_asking_git(world: World) -> None:
    worktree = world.make()
    (worktree.path / "a.txt").write_text("work\n")
    assert not needs_git(world.checkout())
    world.make()
    assert (worktree.path / "a.txt").read_text() == "work\n"


def test_it_starts_from_its_base(world: World) -> None:
    first = git(world.repo, "rev-parse", "HEAD")
    git(world.repo, "tag", "v1")
    (world.repo / "a.txt").write_text("later\n")
    commit(world.repo, "second")
    for name, base, ref in (("tag", "v1", "refs/tags/v1"), ("id", first[:10], None), ("main", "main~1", None)):
        worktree = world.make(world.checkout(name, base=base))
        assert git(worktree.path, "rev-parse", "HEAD") == first
        assert worktree.record.base_ref == ref


def test_a_branch_that_is_there_is_gone_on_with(world: World) -> None:
    git(world.repo, "branch", "topic")
    (world.repo / "a.txt").write_text("later\n")
    commit(world.repo, "second")
    worktree = world.make(world.checkout(branch="topic"))
    assert branch_of(worktree.path) == "topic"
    assert worktree.record.base_commit == git(world.repo, "rev-parse", "topic")


def test_a_branch_that_is_checked_out_elsewhere_is_refused_with_gits_reason(world: World) -> None:
    with pytest.raises(GitError, match="already checked out"):
        world.make(world.checkout(branch="main"))
    assert not (world.folder / "worktrees" / "alice.json").exists()


def test_an_unfinished_one_is_made_anew(world: World) -> None:
    """As after agentd was killed while git wrote the files."""
    path = world.checkout().path
    path.parent.mkdir()
    lock = ("--lock", "--reason", CREATION_LOCK)
    git(world.repo, "worktree", "add", "-q", *lock, "-b", "agentd/alice", path)
    (path / "a.txt").unlink()
    worktree = world.make()
    assert (worktree.path / "a.txt").exists()
    assert "locked" not in git(world.repo, "worktree", "list", "--porcelain")


def test_one_whose_folder_was_deleted_is_made_anew_on_its_branch(world: World) -> None:
    worktree = world.make()
    (worktree.path / "a.txt").write_text("work\n")
    tip = commit(worktree.path, "work")
    subprocess.run(["rm", "-r", worktree.path], check=True)
    assert git(world.make().path, "rev-parse", "HEAD") == tip


def test_a_folder_that_agentd_did_not_make_is_not_touched(world: World) -> None:
    path = world.checkout().path
    path.mkdir(parents=True)
    (path / "mine").write_text("mine")
    with pytest.raises(GitError, match="already exists"):
        world.make()
    assert (path / "mine").read_text() == "mine"


@pytest.mark.parametrize("dirty", [False, True])
def test_another_branch_makes_room_or_removes_what_holds_nothing(world: World, dirty: bool) -> None:
    worktree = world.make()
    if dirty:
        (worktree.path / "new.txt").write_text("work\n")
    other = world.make(world.checkout(branch="topic"))
    assert branch_of(other.path) == "topic"
    assert not (other.path / "new.txt").exists()
    aside = worktree.path.with_name("alice~1")
    worktrees, problems = list_worktrees(worktree.path.parent)
    assert problems == []
    assert [each.name for each in worktrees] == (["alice", "alice~1"] if dirty else ["alice"])
    assert aside.exists() is dirty
    if dirty:
        assert (aside / "new.txt").read_text() == "work\n"
        assert branch_of(aside) == "agentd/alice"


def committed_work(_: World, tree: Path) -> None:
    (tree / "new.txt").write_text("work\n")
    commit(tree, "work")


def a_new_file(_: World, tree: Path) -> None:
    (tree / "new.txt").write_text("work\n")


def a_commit_off_the_branch(world: World, tree: Path) -> None:
    git(tree, "switch", "-q", "--detach")
    committed_work(world, tree)


def what_git_ignores(_: World, tree: Path) -> None:
    (tree / "server.log").write_text("work\n")


def a_switch_to_another_branch(_: World, tree: Path) -> None:
    git(tree, "switch", "-q", "-c", "feature")


def move_on(world: World) -> str:
    """Commit to main, and give the commit; the branch `old` stays."""
    git(world.repo, "branch", "old")
    (world.repo / "a.txt").write_text("later\n")
    return commit(world.repo, "second")


@pytest.mark.parametrize("work", everyday([a_new_file], [committed_work, a_new_file, a_commit_off_the_branch]))
def test_another_base_leaves_a_worktree_that_has_work(world: World, work: Callable[[World, Path], None]) -> None:
    later = move_on(world)
    worktree = world.make(world.checkout(base="old"))
    work(world, worktree.path)
    before = git(worktree.path, "rev-parse", "HEAD")
    again = world.make(world.checkout(base="main"))
    assert git(worktree.path, "rev-parse", "HEAD") == before
    assert (worktree.path / "new.txt").read_text() == "work\n"
    assert (again.record.base, again.record.base_commit) == ("main", later)
    assert not needs_git(world.checkout(base="main"))


@pytest.mark.parametrize("holds", everyday([what_git_ignores], [None, what_git_ignores, a_switch_to_another_branch]))
def test_a_worktree_without_work_begins_anew_at_another_base(
    world: World, holds: Callable[[World, Path], None] | None
) -> None:
    later = move_on(world)
    worktree = world.make(world.checkout(base="old"))
    first = git(worktree.path, "rev-parse", "HEAD")
    if holds is not None:
        holds(world, worktree.path)
    again = world.make(world.checkout(base="main"))
    assert (branch_of(worktree.path), git(worktree.path, "rev-parse", "HEAD")) == ("agentd/alice", later)
    assert (again.record.base, again.record.base_commit) == ("main", later)
    # What may be somebody's is elsewhere.
    aside = worktree.path.with_name("alice~1")
    assert aside.exists() is (holds is what_git_ignores)
    if holds is what_git_ignores:
        assert (aside / "server.log").read_text() == "work\n"
    if holds is a_switch_to_another_branch:
        assert git(world.repo, "rev-parse", "feature") == first


def test_a_worktree_whose_branch_came_to_its_new_base_stays(world: World) -> None:
    worktree = world.make(world.checkout(base="main"))
    committed_work(world, worktree.path)
    git(world.repo, "merge", "-q", "agentd/alice")
    (worktree.path / "server.log").touch()
    assert world.make(world.checkout()).record.base is None
    assert (worktree.path / "server.log").exists()


def test_a_read_only_checkout_is_detached_and_write_protected_and_follows_its_base(world: World) -> None:
    checkout = world.checkout(branch=None)
    worktree = world.make(checkout)
    assert branch_of(worktree.path) == ""
    assert not stat.S_IMODE((worktree.path / "a.txt").stat().st_mode) & 0o222
    assert not stat.S_IMODE(worktree.path.stat().st_mode) & 0o222
    (world.repo / "b.txt").write_text("later\n")
    later = commit(world.repo, "second")
    world.make(checkout)
    assert git(worktree.path, "rev-parse", "HEAD") == later
    assert not stat.S_IMODE((worktree.path / "b.txt").stat().st_mode) & 0o222
    assert git(worktree.path, "status", "--porcelain") == ""


@pytest.mark.parametrize("work", [committed_work, a_new_file, what_git_ignores])
def test_a_read_only_checkout_that_was_changed_makes_room_for_a_new_one(
    world: World, work: Callable[[World, Path], None]
) -> None:
    checkout = world.checkout(branch=None)
    worktree = world.make(checkout)
    subprocess.run(["chmod", "-R", "u+w", worktree.path], check=True)
    work(world, worktree.path)
    name = "server.log" if work is what_git_ignores else "new.txt"
    later = move_on(world)
    world.make(checkout)
    assert git(worktree.path, "rev-parse", "HEAD") == later
    assert not (worktree.path / name).exists()
    assert (worktree.path.with_name("alice~1") / name).read_text() == "work\n"


def test_what_is_no_repository_or_has_no_commit_is_said_so(world: World) -> None:
    plain = world.folder / "plain"
    plain.mkdir()
    for repo, reason in ((plain, "not a git repository"), (world.folder / "none", "No such file")):
        with pytest.raises(GitError, match=reason):
            world.make(Checkout(repo, world.folder / "worktrees" / "x", "agentd/x", None))
    git(plain, "init", "-q")
    with pytest.raises(GitError, match="commit something"):
        world.make(Checkout(plain, world.folder / "worktrees" / "x", "agentd/x", None))
    with pytest.raises(GitError, match="no commit for base nope"):
        world.make(world.checkout(base="nope"))


def test_variables_that_choose_a_repository_do_not_reach_git(world: World) -> None:
    environ = {"PATH": os.environ["PATH"], "GIT_DIR": "/nonexistent", "GIT_WORK_TREE": "/", "GIT_INDEX_FILE": "/x"}
    here = Git(Runner(invoking_user(world.folder), environ), world.folder)
    checkout = world.checkout()
    ensure_worktree(here, checkout, "alice", NOW)
    assert branch_of(checkout.path) == "agentd/alice"


def test_a_cancelled_runner_ends_what_runs_and_starts_nothing_more(world: World) -> None:
    runner = Runner(invoking_user(world.folder), os.environ)
    timer = Timer(0.2, runner.cancel)
    timer.start()
    with pytest.raises(RunnerError, match="no longer wanted"):
        runner.run(["sleep", "600"])
    timer.join()
    with pytest.raises(RunnerError, match="was not started"):
        runner.run(["true"])


def test_a_program_that_takes_too_long_is_ended(world: World) -> None:
    runner = Runner(invoking_user(world.folder), os.environ)
    with pytest.raises(RunnerError, match="took longer than 0 s"):
        runner.run(["sleep", "600"], limit=0.1)


def test_a_record_that_is_damaged_is_named_and_hides_no_other(world: World) -> None:
    worktree = world.make()
    (worktree.path.parent / "bob.json").write_text('{"agent": 5')
    (worktree.path.parent / "carol.json").write_text('{"agent": 5}')
    worktrees, problems = list_worktrees(worktree.path.parent)
    assert [each.name for each in worktrees] == ["alice"]
    assert len(problems) == 2
    with pytest.raises(RecordError, match=r"carol\.json is not a record of agentd's"):
        read_record(worktree.path.parent / "carol")


def test_without_git_the_reason_says_so(world: World) -> None:
    without = Git(Runner(invoking_user(world.folder), {"PATH": "/nonexistent"}), world.folder)
    with pytest.raises(GitError, match="cannot run git: No such file or directory; install it"):
        ensure_worktree(without, world.checkout(), "alice", NOW)


def test_submodules_are_not_fetched_and_that_is_said(world: World) -> None:
    library = make_repository(world.folder / "lib")
    git(world.repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", library, "lib")
    git(world.repo, "config", "-f", ".gitmodules", "submodule.lib.url", f"ext::sh -c touch% {world.folder}/ran")
    git(world.repo, "config", "protocol.ext.allow", "always")
    commit(world.repo, "with a submodule")
    with capture_logs() as logs:
        worktree = world.make()
    [event] = [event for event in logs if event["event"] == "worktree_submodules_missing"]
    assert (event["submodules"], event["path"]) == (["lib"], str(worktree.path))
    assert list((worktree.path / "lib").iterdir()) == []
    assert inspect(world.git, worktree).reasons() == []
    assert read_changes(world.git, worktree).files() == []
    assert remove(world.git, worktree, Allowed(), NOW).kept is None
    assert not (world.folder / "ran").exists()
