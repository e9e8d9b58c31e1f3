"""Put a worktree back as a snapshot has it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile

from agentd.files.regular import open_regular
from agentd.worktrees.branches import refuse_in_use, refuse_name_in_the_way
from agentd.worktrees.cleanup import remove_torn_metadata
from agentd.worktrees.create import clear_path, create_parent, write_protect
from agentd.worktrees.git import CHECKOUT_LIMIT, Git, GitError
from agentd.worktrees.inspect import CREATION_LOCK
from agentd.worktrees.record import CREATING, Worktree, read_record, write_record
from agentd.worktrees.removal import Allowed, remove
from agentd.worktrees.snapshots import SavedRef, SavedWorktree


def restore_worktree(git: Git, path: Path, saved: SavedWorktree, now: float, *, ignored: bool) -> None:
    """Create a worktree with the branch, the commit, the staged and the other files that a snapshot has.

    What is at `path` is saved and removed first. What a snapshot has not is lost: files that git ignores, a rebase or
    merge under way, and marks by which git overlooks files.

    Parameters
    ----------
    path
        Of the worktree; the caller makes sure that no agent uses it.
    now
        Seconds since the epoch.
    ignored
        Whether files there that git ignores may be deleted.

    Raises
    ------
    GitError, RecordError, RunnerError
        If it cannot be restored; what was there then stays, or is in a snapshot.
    """
    repository = git.in_folder(Path(saved.record.repo))
    for each in (saved.branch, saved.head, saved.work):
        if each is not None and repository.commit(each.commit) is None:
            raise GitError(f"{repository.at} does not have {each.commit}, which {each.ref} kept: it was deleted there")
    remove_torn_metadata(repository)
    _make_room(git, path, now, ignored=ignored)
    create_parent(git, path.parent)
    clear_path(repository, path, now)
    what = _branch(repository, path, saved)
    record = replace(saved.record, under_way=None)
    write_record(git.runner, path, replace(record, under_way=CREATING))
    add = ("worktree", "add", "--lock", "--reason", CREATION_LOCK)
    repository.out(*add, *what, limit=CHECKOUT_LIMIT)
    here = git.in_folder(path)
    if saved.branch is not None and saved.head is not None:
        here.out("checkout", "--quiet", "--detach", saved.head.commit, limit=CHECKOUT_LIMIT)
    if saved.work is not None:
        _put_work_back(here, saved.work)
    if record.branch is None:
        write_protect(here)
    write_record(git.runner, path, record)
    repository.out("worktree", "unlock", path)


def fetch_bundle(git: Git, repo: Path, bundle: Path, refs: Sequence[str], beside: Path) -> None:
    """Fetch refs from a file that ``git bundle`` wrote, which we may read and git's user perhaps not.

    Parameters
    ----------
    beside
        A folder on the disk that is to hold a copy, if git runs as another user: without a name, and that user's own.

    Raises
    ------
    GitError
        If the file or what it should have cannot be read.
    """
    fetch = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head")
    wanted, here, user = [f"{ref}:{ref}" for ref in refs], git.in_folder(repo), git.runner.user
    if not user.switch:
        here.out(*fetch, bundle, *wanted, limit=CHECKOUT_LIMIT)
        return
    try:
        with open_regular(bundle, beneath=bundle.parent) as file, TemporaryFile(dir=beside) as copy:
            copyfileobj(file, copy)
            copy.flush()
            os.fchown(copy.fileno(), user.uid, user.gid)
            # git opens it again, now as its owner.
            again = f"/dev/fd/{copy.fileno()}"
            here.out(*fetch, again, *wanted, limit=CHECKOUT_LIMIT, descriptor=copy.fileno())
    except OSError as error:
        raise GitError(f"cannot copy {bundle} to {beside}: {error.strerror}") from error


def _make_room(git: Git, path: Path, now: float, *, ignored: bool) -> None:
    record = read_record(path)
    if record is not None:
        removed = remove(git, Worktree(path, record), Allowed(force=True, ignored=ignored), now)
        if removed.kept is not None:
            raise GitError(f"{path} is in the way: {removed.kept}")
    elif os.path.lexists(path):
        raise GitError(f"{path} is in the way, and no worktree of agentd's: move it away")


def _branch(repository: Git, path: Path, saved: SavedWorktree) -> tuple[str | Path, ...]:
    """Have the branch point where it did, and give what ``git worktree add`` is to check out.

    Raises
    ------
    GitError
        If the branch is used elsewhere or has gone on.
    """
    name, tip = saved.record.branch, saved.branch
    if name is None or tip is None:
        at = saved.head.commit if saved.head is not None else saved.record.base_commit
        return ("--detach", path, at)
    ref = f"refs/heads/{name}"
    now = repository.commit(ref)
    if now is None:
        refuse_name_in_the_way(repository, name)
        repository.out("update-ref", "-m", "agentd restores a worktree", ref, tip.commit, "0" * len(tip.commit))
    elif now != tip.commit:
        raise GitError(f"the branch {name} is at {now} now, and was at {tip.commit}: rename it (git branch -m) first")
    refuse_in_use(repository, name, path)
    return (path, name)


def _put_work_back(here: Git, work: SavedRef) -> None:
    """Write the files of a commit that saved work, and stage what was staged."""
    here.out("read-tree", "-m", "-u", "HEAD", work.commit, limit=CHECKOUT_LIMIT)
    here.out("read-tree", here.commit(f"{work.commit}^2") or "HEAD")
    # It says by its status that files differ.
    here.finish("update-index", "-q", "--refresh", limit=CHECKOUT_LIMIT)
