"""Clearing away what is left of worktrees: folders, and what git knows of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentd.launch.launcher import quote
from agentd.process.runner import RunnerError
from agentd.worktrees.belonging import RepositoryGoneError, entry_of, repository_of
from agentd.worktrees.git import CHECKOUT_LIMIT, Git
from agentd.worktrees.inspect import LOCKED_TO_MAKE, locked_to_make, processes_in
from agentd.worktrees.record import Place, write_held

_NEEDED: Final = ("gitdir", "commondir", "HEAD")
"""Files that git writes when it makes a worktree, one after the other."""

_NOBODYS: Final = 5.0
"""Seconds after which a lock is nobody's any more: git holds it for milliseconds."""


def delete(git: Git, folder: Path) -> None:
    """Delete a folder and what is in it, write-protected or not; one that is not there is fine.

    Raises
    ------
    RunnerError
        If it cannot be deleted.
    """
    path = quote(os.fsencode(folder))
    script = (
        b"[ -e " + path + b" ] || [ -L " + path + b" ] || exit 0;"
        b" [ -L " + path + b" ] || chmod -R u+rwX -- " + path + b" 2>/dev/null; rm -rf -- " + path
    )
    done = git.runner.script(script, limit=CHECKOUT_LIMIT)
    if done.status != 0:
        raise RunnerError(f"cannot delete {folder}: {done.reason}")


def forget_missing(repository: Git, path: Path) -> None:
    """Let git forget a worktree whose folder is gone; one that somebody locked is not forgotten.

    Raises
    ------
    GitError
        If git cannot, or does not.
    """
    entry = entry_of(repository, path)
    if entry is not None:
        force = ("--force", "--force") if entry.locked == LOCKED_TO_MAKE else ("--force",)
        repository.out("worktree", "remove", *force, path)


def clear_unfinished(git: Git, place: Place, now: float) -> None:
    """Remove a worktree that was never finished, and whatever git left of it; its branch stays.

    Parameters
    ----------
    git
        At any place.
    place
        The worktree.
    now
        Seconds since the epoch.

    Raises
    ------
    GitError, RunnerError
        If it cannot be removed.
    """
    try:
        repository = repository_of(git, place)
        clear_torn(repository)
    except RepositoryGoneError:
        repository = None
    users = processes_in(place.path)
    if users:
        raise RunnerError(
            f"{place.path} was never finished, but processes are in it ({', '.join(map(str, users))}): end them first"
        )
    entry = None if repository is None else entry_of(repository, place.path)
    if entry is not None and entry.locked != LOCKED_TO_MAKE and os.path.lexists(place.path):
        # Somebody put it there meanwhile: what is being made is locked until it is done.
        if entry.branch != place.held.branch:
            raise RunnerError(f"{place.path} is a worktree that agentd did not make: move it away")
        write_held(git.runner, place.path, replace(place.held, under_way=None))
        return
    # git removes none that is only half there.
    delete(git, place.path)
    if repository is None:
        return
    forget_missing(repository, place.path)
    if place.held.branch is not None:
        remove_stale_lock(repository, branch_lock(repository, place.held.branch), now)


def clear_torn(repository: Git) -> None:
    """Remove what a git left that was killed when it had just begun to make a worktree.

    With one of its files empty, git lists no worktree of the repository any more.

    Raises
    ------
    GitError, RunnerError
        If it cannot be removed.
    """
    common = Path(repository.line("rev-parse", "--path-format=absolute", "--git-common-dir"))
    try:
        known = sorted((common / "worktrees").iterdir())
    except OSError:
        return
    for own in known:
        if locked_to_make(own) and not all(_written(own / name) for name in _NEEDED):
            delete(repository, own)


def _written(file: Path) -> bool:
    try:
        return file.lstat().st_size > 0
    except OSError:
        return False


def remove_stale_lock(git: Git, lock: Path, now: float) -> None:
    """Remove a lock file if a git left it that was killed.

    That can only be told by its age, which is waited for, and by what the caller knows to have been under way.

    Raises
    ------
    RunnerError
        If it cannot be removed.
    """
    found = _identity(lock)
    if found is None:
        return
    age = max(0.0, now - found.st_mtime)
    if age < _NOBODYS:
        git.runner.pause(_NOBODYS - age)
    again = _identity(lock)
    if again is not None and (again.st_ino, again.st_mtime_ns) == (found.st_ino, found.st_mtime_ns):
        delete(git, lock)


def _identity(lock: Path) -> os.stat_result | None:
    try:
        return lock.lstat()
    except OSError:
        return None


def branch_lock(repository: Git, branch: str) -> Path:
    """Say where git puts the lock of a branch.

    Raises
    ------
    GitError
        If git cannot say.
    """
    # Not by git's --git-path, which fails where a branch is in the way of a folder.
    common = Path(repository.line("rev-parse", "--path-format=absolute", "--git-common-dir"))
    return common / "refs" / "heads" / f"{branch}.lock"
