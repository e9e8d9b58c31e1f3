"""Branches that cannot be, repositories that are moved or gone, worktrees that are moved and come back."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.model.spec import Checkout
from agentd.worktrees import create
from agentd.worktrees.changes import read_changes
from agentd.worktrees.ensure import needs_git
from agentd.worktrees.git import GitError
from agentd.worktrees.inspect import inspect
from agentd.worktrees.record import CREATING, RecordError, Worktree, read_record, write_record
from agentd.worktrees.removal import Allowed, remove
from agentd.worktrees.repository import RepositoryGoneError
from tests.cli.support import Client
from tests.support.thorough import everyday
from tests.worktrees.repositories import NOW, World, commit, git, make_repository


@pytest.mark.parametrize("packed", everyday([True], [False, True]))
@pytest.mark.parametrize(
    ("there", "wanted"), [("feature", "feature/x"), ("feature/x", "feature"), ("a", "a/b/c"), ("a/b/c", "a/b")]
)
def test_a_branch_that_another_is_in_the_way_of_is_refused_and_left_by_an_edit(
    world: World, there: str, wanted: str, packed: bool
) -> None:
    git(world.repo, "branch", there)
    if packed:
        git(world.repo, "pack-refs", "--all", "--prune")
    for _ in range(2):
        with pytest.raises(GitError, match=f"no branch {wanted}|branch {wanted} beside the branch {there} of"):
            world.make(world.checkout(branch=wanted))
    assert read_record(world.checkout().path) is None
    worktree = world.make(world.checkout(branch="other"))
    assert git(worktree.path, "branch", "--show-current") == "other"


def test_a_record_that_a_former_version_left_half_made_is_recovered_from(world: World) -> None:
    git(world.repo, "branch", "feature")
    worktree = world.make()
    assert remove(world.git, worktree, Allowed(), NOW).kept is None
    write_record(world.git.runner, worktree.path, replace(worktree.record, branch="feature/x", under_way=CREATING))
    assert world.make().record.branch == "agentd/alice"


def test_a_clean_up_that_fails_does_not_hide_why_it_was_needed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bool:
        raise RecordError("out of luck")

    monkeypatch.setattr(create, "branch_lock", fails)
    monkeypatch.setattr(create, "refuse_in_use", lambda *_: None)
    with pytest.raises(GitError, match="already checked out"):
        world.make(world.checkout(branch="main"))


# -- branches that were there before


def test_a_branch_that_agentd_found_stays_and_one_that_it_created_goes(world: World) -> None:
    git(world.repo, "branch", "feature")
    for branch in ("feature", "mine"):
        world.make(world.checkout(branch=branch))
    worktree = world.make(world.checkout(branch="feature"))
    assert git(worktree.path, "branch", "--show-current") == "feature"
    removed = remove(world.git, worktree, Allowed(), NOW)
    assert (removed.branch, removed.recover, removed.kept) == (None, (), None)
    assert git(world.repo, "branch", "--format=%(refname:short)").split() == ["feature", "main"]


def test_one_that_agentd_created_goes_although_its_folder_was_deleted_meanwhile(world: World) -> None:
    shutil.rmtree(world.make().path)
    assert remove(world.git, world.make(), Allowed(), NOW).branch == "agentd/alice"


def test_another_base_does_not_move_a_branch_that_agentd_found(world: World) -> None:
    git(world.repo, "branch", "feature")
    found = git(world.repo, "rev-parse", "feature")
    world.make(world.checkout(branch="feature", base="feature"))
    (world.repo / "more.txt").write_text("more\n")
    commit(world.repo, "second")
    worktree = world.make(world.checkout(branch="feature", base="main"))
    assert (worktree.record.base, worktree.record.branch) == ("main", "feature")
    assert git(worktree.path, "branch", "--show-current") == "feature"
    assert git(world.repo, "rev-parse", "feature") == found


# -- where the repository is


def renamed(world: World) -> Path:
    other = world.repo.with_name("store")
    world.repo.rename(other)
    return other


def linked(world: World) -> Path:
    other = world.repo.with_name("link")
    other.symlink_to(world.repo)
    return other


def renamed_and_replaced(world: World) -> Path:
    other = renamed(world)
    make_repository(world.repo)
    return other


def on_another_file_system(world: World) -> Path:
    """As `mv` does it: copied, and deleted then."""
    other = world.repo.with_name("copy")
    shutil.copytree(world.repo, other, symlinks=True)
    shutil.rmtree(world.repo)
    return other


def renamed_behind_a_link(world: World) -> Path:
    """It was known by a link, which leads nowhere since."""
    other = renamed(world)
    world.repo.symlink_to(world.folder / "nowhere")
    return other


def renamed_and_replaced_by_a_file(world: World) -> Path:
    other = renamed(world)
    world.repo.write_text("moved\n")
    return other


def renamed_and_unmounted(world: World) -> Path:
    """What is left of a mount is an empty folder."""
    other = renamed(world)
    world.repo.mkdir()
    return other


_MOVES = [
    *(renamed, linked, renamed_and_replaced, on_another_file_system),
    *(renamed_behind_a_link, renamed_and_replaced_by_a_file, renamed_and_unmounted),
]


@pytest.mark.parametrize("move", everyday([linked, renamed_and_replaced, renamed_behind_a_link], _MOVES))
@pytest.mark.parametrize("read_only", everyday([False], [False, True]))
def test_a_repository_that_has_another_path_is_known_again(
    world: World, move: Callable[[World], Path], read_only: bool
) -> None:
    checkout = world.checkout(branch=None if read_only else "")
    worktree = world.make(checkout)
    if not read_only:
        (worktree.path / "new.txt").write_text("work\n")
    moved = Checkout(move(world), checkout.path, checkout.branch, None)
    assert needs_git(moved)
    found = world.make(moved)
    assert found.record == replace(worktree.record, repo=str(moved.repo))
    assert [path.name for path in worktree.path.parent.iterdir() if path.is_dir()] == ["alice"]
    work = inspect(world.git, found)
    assert work.uncommitted == (() if read_only else ("new.txt",))
    assert len(read_changes(world.git, found).files()) == len(work.uncommitted)
    assert needs_git(moved) == read_only
    removed = remove(world.git, found, Allowed(force=True), NOW)
    assert (removed.kept, git(moved.repo, "branch", "--list", "agentd/alice")) == (None, "")


def test_what_is_declared_with_the_former_path_says_that_it_is_gone(world: World) -> None:
    worktree = world.make()
    moved = renamed(world)
    assert needs_git(world.checkout())
    with pytest.raises(RepositoryGoneError, match=f"its repository {world.repo} is gone"):
        world.make()
    # As the message says.
    git(moved, "worktree", "repair")
    assert read_changes(world.git, worktree).files() == []
    assert inspect(world.git, worktree).reasons() == []


def test_a_moved_repository_may_be_known_by_its_former_path_as_well(world: World) -> None:
    world.make()
    moved = renamed(world)
    world.repo.symlink_to(moved)
    assert world.make().record.repo == str(world.repo)


def test_another_repository_at_the_same_path_is_told(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    world.repo.rename(world.folder / "former")
    make_repository(world.repo)
    assert needs_git(world.checkout())
    with pytest.raises(GitError, match=f"is no longer a worktree of {world.repo}"):
        world.make()
    # As the message says.
    worktree.path.rename(world.folder / "away")
    assert world.make().record.base_commit == git(world.repo, "rev-parse", "main")


def test_another_repository_is_none_that_was_moved(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    other = make_repository(world.folder / "other")
    made = world.make(replace(world.checkout(), repo=other))
    assert made.record.repo == str(other)
    assert (worktree.path.with_name("alice~1") / "new.txt").exists()


def test_a_repository_that_is_gone_for_good_hinders_nothing(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    shutil.rmtree(world.repo)
    for allowed in (Allowed(), Allowed(force=True), Allowed(ignored=True)):
        kept = remove(world.git, worktree, allowed, NOW).kept
        assert kept is not None
        assert "--force --ignored removes it all the same" in kept
    # What it held is set aside for another repository, and can be removed then.
    other = make_repository(world.folder / "other")
    made = world.make(replace(world.checkout(), repo=other))
    assert made.record.repo == str(other)
    aside = world.worktree(worktree.path.with_name("alice~1"))
    assert (aside.path / "new.txt").read_text() == "work\n"
    assert remove(world.git, aside, Allowed(force=True, ignored=True), NOW).kept is None
    assert sorted(path.name for path in worktree.path.parent.iterdir()) == ["alice", "alice.json"]


@pytest.mark.parametrize("under_way", [None, CREATING])
def test_of_one_whose_folder_is_gone_with_its_repository_nothing_is_kept(world: World, under_way: str | None) -> None:
    worktree = world.make()
    record = replace(worktree.record, under_way=under_way)
    write_record(world.git.runner, worktree.path, record)
    shutil.rmtree(world.repo)
    shutil.rmtree(worktree.path)
    assert remove(world.git, Worktree(worktree.path, record), Allowed(), NOW).kept is None
    assert list(worktree.path.parent.iterdir()) == []


MADE_BY_A_MOUNT = """
import os, sys
from dataclasses import replace
from pathlib import Path
from tests.worktrees.repositories import Git, Runner, World, invoking_user

world = World.__new__(World)
world.folder = Path(sys.argv[1])
world.repo = world.folder / "shop"
world.git = Git(Runner(invoking_user(world.folder), {"PATH": os.environ["PATH"]}), world.folder)
print(world.make(replace(world.checkout(), repo=world.folder / "mount")).record.repo)
"""


def test_a_mount_of_the_repository_is_the_repository(world: World) -> None:
    mount = world.folder / "mount"
    mount.mkdir()
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounts cannot be made here")
    world.make()
    script = f'mount --bind "$1/shop" "$1/mount" && exec {sys.executable} -c "$2" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", world.folder, MADE_BY_A_MOUNT],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.splitlines()[-1:] == [str(mount)], done.stderr
    assert not (world.folder / "worktrees" / "alice~1").exists()


def test_a_repository_that_is_gone_is_said_once_and_what_is_left_can_be_cleaned(world: World) -> None:
    world.make()
    world.make(world.checkout("bob"))
    shutil.rmtree(world.repo)
    (world.folder / "jcard.toml").write_text("# nobody\n")
    client = Client(world.folder, {"AGENTD_DATA_DIR": str(world.folder), "AGENTD_AGENT_USER": getpass.getuser()})
    listed = client("worktrees", "list")
    assert [row[3] for row in listed.rows] == ["?", "?"]
    assert listed.err.count(f"the repository {world.repo} of alice, bob is gone") == listed.err.count("\n") == 1
    dry = client("worktrees", "clean", "--dry-run")
    assert dry.out.count("--force --ignored removes it all the same") == 2
    assert client("worktrees", "clean", "--force", "--ignored").status == 0
    assert list((world.folder / "worktrees").iterdir()) == []


# -- where the worktree is


def test_one_that_was_moved_by_git_and_back_is_used_again(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    away = world.folder / "away"
    git(world.repo, "worktree", "move", worktree.path, away)
    for _ in range(2):
        with pytest.raises(GitError, match=f"already checked out in {away}.*worktree move {away} {worktree.path}"):
            world.make()
        assert read_record(worktree.path) == worktree.record
    git(world.repo, "worktree", "move", away, worktree.path)
    assert world.make().record == worktree.record
    assert (worktree.path / "new.txt").exists()


def test_what_is_known_of_it_outlives_an_attempt_that_git_refuses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worktree = world.make()
    away = world.folder / "away"
    git(world.repo, "worktree", "move", worktree.path, away)
    # As if git had been asked a moment before.
    monkeypatch.setattr(create, "refuse_in_use", lambda *_: None)
    with pytest.raises(GitError):
        world.make()
    assert read_record(worktree.path) == worktree.record


def test_a_registered_worktree_on_its_branch_is_adopted(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    worktree.path.with_name("alice.json").unlink()
    tip = git(worktree.path, "rev-parse", "HEAD")
    assert replace(world.make().record, made="") == replace(worktree.record, made="", branch_found=tip)
    assert inspect(world.git, worktree).uncommitted == ("new.txt",)


@pytest.mark.parametrize("what", ["another branch", "another repository", "detached", "no worktree"])
def test_another_one_is_not_adopted(world: World, what: str) -> None:
    path = world.checkout().path
    path.parent.mkdir()
    if what == "another branch":
        git(world.repo, "worktree", "add", "-q", "-b", "mine", path)
    elif what == "another repository":
        other = make_repository(world.folder / "other")
        git(other, "worktree", "add", "-q", "-b", "agentd/alice", path)
    elif what == "detached":
        git(world.repo, "worktree", "add", "-q", "--detach", path)
    else:
        make_repository(path)
        git(path, "switch", "-q", "-c", "agentd/alice")
    (path / "new.txt").write_text("work\n")
    with pytest.raises(GitError, match="already exists"):
        world.make()
    assert (path / "new.txt").exists()
    assert read_record(path) is None


def test_one_that_came_back_while_another_was_about_to_be_made_is_not_deleted(world: World) -> None:
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    write_record(world.git.runner, worktree.path, replace(worktree.record, under_way=CREATING))
    world.make()
    assert (worktree.path / "new.txt").exists()
    assert world.worktree(worktree.path).record == worktree.record
