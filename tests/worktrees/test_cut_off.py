"""What was begun with a worktree and cut off, at the worst moment, is finished or begun anew, and loses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from threading import Timer

import pytest

from agentd.process.runner import Runner, RunnerError
from agentd.worktrees import ensure
from agentd.worktrees.changes import read_changes
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.record import Worktree, list_worktrees
from agentd.worktrees.removal import Allowed, Removed, remove
from tests.support.thorough import everyday
from tests.support.waiting import wait_for
from tests.worktrees.repositories import NOW, World, commit, git, invoking_user

LOCK = "agentd is making it"


def dying_git(world: World, command: str, *does: str) -> Git:
    """git that is killed once, at this command; what it has done by then is left to a script with its arguments."""
    folder = world.folder / "bin"
    folder.mkdir(exist_ok=True)
    real, once = shutil.which("git"), folder / "once"
    once.touch()
    (folder / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" {command} "*)\n\tif rm {once} 2>/dev/null; then\n'
        f'\t\tgit() {{ {real} "$@"; }}\n\t\tfor tree; do case $tree in */worktrees/*) break ;; esac; done\n\t\t'
        + "\n\t\t".join(does)
        + f'\n\t\tkill -KILL $$\n\tfi ;;\nesac\nexec {real} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return Git(Runner(invoking_user(world.folder), {"PATH": path}), world.folder)


def is_sound(world: World) -> None:
    listed = git(world.repo, "worktree", "list", "--porcelain")
    assert "locked" not in listed
    assert "prunable" not in listed
    fsck = ["git", "-C", str(world.repo), "fsck", "--no-dangling", "--no-progress"]
    done = subprocess.run(fsck, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    worktrees, problems = list_worktrees(world.folder / "worktrees")
    assert problems == []
    there = {path for path in (world.folder / "worktrees").iterdir() if path.is_dir()}
    assert {worktree.path for worktree in worktrees} == there


def clean(world: World, worktree: Worktree, *, force: bool = False) -> Removed:
    return remove(world.git, worktree, Allowed(force=force), NOW)


def test_one_that_was_finished_but_not_said_to_be_can_make_room(world: World) -> None:
    worktree = world.make()
    git(world.repo, "worktree", "lock", "--reason", LOCK, worktree.path)
    (worktree.path / "new.txt").write_text("work\n")
    world.make(world.checkout(branch="topic"))
    assert (worktree.path.with_name("alice~1") / "new.txt").read_text() == "work\n"
    is_sound(world)


def test_one_that_was_finished_but_not_said_to_be_is_unlocked_when_it_is_used_again(world: World) -> None:
    worktree = world.make()
    git(world.repo, "worktree", "lock", "--reason", LOCK, worktree.path)
    (worktree.path / "new.txt").write_text("work\n")
    assert ensure.needs_git(world.checkout())
    world.make()
    assert (worktree.path / "new.txt").read_text() == "work\n"
    is_sound(world)


ADD = 'git "$@" >&2; own=$(sed "s/gitdir: //" "$tree/.git")'
LEFT_BY_MAKING = {
    "nothing but a lock of its branch": ('touch "$2/.git/refs/heads/agentd/alice.lock"',),
    "no commondir": (ADD, 'rm "$own/commondir"'),
    "an empty commondir, which git dies of": (ADD, 'rm "$own/index"; : >"$own/commondir"'),
    "an empty gitdir": (ADD, ': >"$own/gitdir"; rm "$tree/.git" "$tree/a.txt" "$tree/.gitignore"'),
    "no link": (ADD, 'rm "$tree/.git"'),
    "no HEAD": (ADD, 'rm "$own/HEAD" "$tree/a.txt"'),
    "files that git no longer knows": (ADD, 'rm -r "$own" "$tree/.git"'),
}
MOST_LEFT = ("an empty commondir, which git dies of", "no HEAD")


@pytest.mark.parametrize("left", everyday(MOST_LEFT, LEFT_BY_MAKING))
def test_a_git_that_was_killed_while_it_made_one_hinders_neither_the_next_nor_other_agents(
    world: World, left: str
) -> None:
    other = world.checkout("bob")
    world.make(other)
    (world.repo / ".git" / "refs" / "heads" / "agentd").mkdir(exist_ok=True)
    dying = dying_git(world, "worktree add", *LEFT_BY_MAKING[left])
    with pytest.raises(GitError):
        ensure.ensure_worktree(dying, world.checkout(), "alice", time.time())
    ensure.ensure_worktree(world.git, world.checkout("carol"), "carol", time.time())
    ensure.ensure_worktree(world.git, world.checkout(), "alice", time.time())
    tree = world.checkout().path
    assert git(tree, "status", "--porcelain", "--branch") == "## agentd/alice"
    assert (tree / "a.txt").exists()
    assert not list((world.repo / ".git").rglob("*.lock"))
    is_sound(world)


@pytest.mark.parametrize("left", ['rm "$tree/a.txt"', 'rm "$own/index"; : >"$own/commondir"'])
def test_one_that_was_never_finished_is_cleaned_with_its_branch(world: World, left: str) -> None:
    dying = dying_git(world, "worktree add", ADD, left)
    with pytest.raises(GitError):
        ensure.ensure_worktree(dying, world.checkout(), "alice", NOW)
    [worktree] = list_worktrees(world.folder / "worktrees")[0]
    assert clean(world, worktree).kept is None
    assert git(world.repo, "branch", "--format=%(refname:short)") == "main"
    is_sound(world)


def test_what_git_refuses_leaves_no_record(world: World) -> None:
    with pytest.raises(GitError) as refused:
        world.make(world.checkout(branch="main"))
    assert "hint" not in str(refused.value)
    assert list_worktrees(world.folder / "worktrees") == ([], [])


@pytest.mark.parametrize("git_took_note", everyday([False], [True, False]))
@pytest.mark.parametrize("work", ["file", "commit"])
def test_a_worktree_whose_setting_aside_was_cut_off_keeps_its_work_and_its_branch(
    world: World, work: str, git_took_note: bool
) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    if work == "commit":
        commit(worktree.path, "work")
    does = 'git "$@"' if git_took_note else 'mv "$tree" "$tree~1"'
    dying = dying_git(world, "worktree move", does)
    with pytest.raises(GitError):
        ensure.ensure_worktree(dying, world.checkout(branch="topic"), "alice", NOW)
    world.make(world.checkout(branch="topic"))
    aside = worktree.path.with_name("alice~1")
    assert git(aside, "branch", "--show-current") == "agentd/alice"
    assert git(aside, "status", "--porcelain") == ("?? new.txt" if work == "file" else "")
    assert git(worktree.path, "branch", "--show-current") == "topic"
    is_sound(world)


def test_one_that_was_set_aside_by_halves_is_not_cleaned_away_under_its_old_name(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    dying = dying_git(world, "worktree move", 'git "$@"')
    with pytest.raises(GitError):
        ensure.ensure_worktree(dying, world.checkout(branch="topic"), "alice", NOW)
    assert clean(world, worktree, force=True).kept == "it was set aside: it is alice~1 now"
    assert git(worktree.path.with_name("alice~1"), "status", "--porcelain", "--branch") == "## agentd/alice\n?? new.txt"
    is_sound(world)


@pytest.mark.parametrize("again", ["clean", "make"])
def test_a_removal_that_was_cut_off_is_repeated_or_forgotten(world: World, again: str) -> None:
    worktree = world.make()
    dying = dying_git(world, "worktree remove", 'rm -f "$tree/.git" "$tree/a.txt"')
    with pytest.raises(GitError):
        remove(dying, worktree, Allowed(), NOW)
    if again == "clean":
        assert clean(world, worktree).kept is None
        assert not worktree.path.exists()
        assert git(world.repo, "branch", "--format=%(refname:short)") == "main"
    else:
        world.make()
        assert git(worktree.path, "status", "--porcelain", "--branch") == "## agentd/alice"
    assert not list(worktree.path.parent.glob("*removed"))
    is_sound(world)


def test_work_that_came_while_it_was_saved_keeps_a_worktree(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    changing = dying_git(world, "commit-tree", 'echo later >"$tree/later.txt"; exec "$0" "$@"')
    kept = remove(changing, worktree, Allowed(force=True), NOW).kept
    assert kept == "it was changed just now; try again"
    assert (worktree.path / "later.txt").read_text() == "later\n"


BEGINNING_ANEW = [
    ("update-ref --no-deref", "agentd/alice", False),
    ("update-ref -d", "agentd/alice", True),
    ("worktree remove", "agentd/alice", False),
    pytest.param("worktree remove", None, False, marks=pytest.mark.thorough),
    ("worktree move", "agentd/alice", True),
    pytest.param("worktree move", None, True, marks=pytest.mark.thorough),
    ("worktree add", "agentd/alice", False),
    pytest.param("worktree add", None, True, marks=pytest.mark.thorough),
]


@pytest.mark.parametrize("done", [True, pytest.param(False, marks=pytest.mark.thorough)])
@pytest.mark.parametrize(("step", "branch", "ignored"), BEGINNING_ANEW)
def test_a_new_beginning_at_another_base_that_was_cut_off_is_finished(
    world: World, step: str, done: bool, branch: str | None, ignored: bool
) -> None:
    worktree = world.make(world.checkout(branch=branch, base="main"))
    if ignored:
        (worktree.path / "server.log").touch()
    git(world.repo, "switch", "-q", "-c", "other")
    (world.repo / "a.txt").write_text("later\n")
    later = commit(world.repo, "second")
    checkout = world.checkout(branch=branch, base="other")
    with pytest.raises(GitError):
        ensure.ensure_worktree(dying_git(world, step, 'git "$@"' if done else ":"), checkout, "alice", NOW)
    world.make(checkout)
    assert git(worktree.path, "rev-parse", "HEAD") == later
    assert git(worktree.path, "branch", "--show-current") == (branch or "")
    assert git(worktree.path, "status", "--porcelain") == ""
    assert worktree.path.with_name("alice~1").exists() is ignored
    for each in list_worktrees(worktree.path.parent)[0]:
        assert remove(world.git, each, Allowed(ignored=True), NOW).kept is None
    is_sound(world)


def test_a_lock_that_a_killed_git_left_is_no_obstacle_to_a_new_beginning(world: World) -> None:
    worktree = world.make(world.checkout(base="main"))
    (world.repo / "a.txt").write_text("later\n")
    later = commit(world.repo, "second")
    dying = dying_git(world, "update-ref --no-deref", 'touch "$2/../../shop/.git/worktrees/alice/HEAD.lock"')
    with pytest.raises(GitError):
        ensure.ensure_worktree(dying, world.checkout(), "alice", NOW)
    ensure.ensure_worktree(world.git, world.checkout(), "alice", time.time() + 60)
    assert git(worktree.path, "rev-parse", "HEAD") == later
    is_sound(world)


def test_a_branch_that_is_checked_out_elsewhere_is_not_removed_with_a_worktree(world: World) -> None:
    worktree = world.make()
    git(worktree.path, "switch", "-q", "--detach")
    git(world.repo, "worktree", "add", "-q", world.folder / "operators", "agentd/alice")
    result = clean(world, worktree)
    assert (result.kept, result.branch) == (None, None)
    assert git(world.folder / "operators", "status", "--porcelain", "--branch") == "## agentd/alice"


@pytest.mark.parametrize("branch", ["agentd/alice", "topic"])
def test_commits_without_a_branch_outlive_a_folder_that_was_deleted(world: World, branch: str) -> None:
    worktree = world.make()
    git(worktree.path, "switch", "-q", "--detach")
    (worktree.path / "a.txt").write_text("work\n")
    work = commit(worktree.path, "work")
    subprocess.run(["rm", "-r", worktree.path], check=True)
    kept = clean(world, worktree).kept
    assert kept is not None
    assert "1 unmerged commit" in kept
    world.make(world.checkout(branch=branch))
    assert git(world.repo, "for-each-ref", "--contains", work) != ""


def test_an_index_that_a_killed_look_left_locked_is_no_obstacle(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    (world.repo / ".git" / "worktrees" / "alice" / f"agentd-index.{os.getpid()}.lock").touch()
    assert [file.path for file in read_changes(world.git, worktree).files()] == ["new.txt"]


@pytest.mark.parametrize("heeds", [True, False])
def test_what_is_cancelled_may_remove_its_locks_first(world: World, heeds: bool) -> None:
    runner, lock = Runner(invoking_user(world.folder), os.environ), world.folder / "lock"
    answer = f"rm {lock}; exit" if heeds else ""

    def cancel_once_it_is_there() -> None:
        wait_for(lock.exists)
        runner.cancel()

    timer = Timer(0.0, cancel_once_it_is_there)
    timer.start()
    with pytest.raises(RunnerError, match="no longer wanted"):
        runner.run(["sh", "-c", f"trap '{answer}' TERM; touch {lock}; while :; do sleep 0.05; done"])
    timer.join()
    assert lock.exists() is not heeds
