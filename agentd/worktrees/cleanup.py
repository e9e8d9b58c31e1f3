"""Remove what is left of worktrees: folders, git's entries and lock files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from agentd.process.runner import RunnerError
from agentd.text.quoting import shell_quote
from agentd.worktrees.git import CHECKOUT_LIMIT, Git, GitError
from agentd.worktrees.inspect import CREATION_LOCK, has_creation_lock, processes_in
from agentd.worktrees.record import RecordError, Worktree, write_record
from agentd.worktrees.repository import RepositoryGoneError, entry_of, repository_of

log = structlog.get_logger(__name__)

_NEEDED: Final = ("gitdir", "commondir", "HEAD")
"""Files that git writes first when it creates a worktree."""

_STALE: Final = 5.0
"""Seconds after which a lock file counts as left behind: git holds one for milliseconds."""


@contextmanager
def log_cleanup_errors() -> Iterator[None]:
    """Log the errors of a clean-up, which must not hide the failure before it; the next launch finishes it."""
    try:
        yield
    except (GitError, RecordError, RunnerError) as error:
        log.warning("worktree_cleanup_failed", reason=str(error))


def delete(git: Git, folder: Path) -> None:
    """Delete a folder or file if it is there, write-protected or not.

    Raises
    ------
    RunnerError
        If it cannot be deleted.
    """
    path = shell_quote(folder)
    script = (
        b"[ -e " + path + b" ] || [ -L " + path + b" ] || exit 0;"
        b" [ -L " + path + b" ] || chmod -R u+rwX -- " + path + b" 2>/dev/null; rm -rf -- " + path
    )
    git.runner.must(script, f"cannot delete {folder}", limit=CHECKOUT_LIMIT)


def unregister(repository: Git, path: Path) -> None:
    """Remove git's entry of a worktree whose folder is gone, unless somebody locked it.

    Raises
    ------
    GitError
        If git fails or refuses.
    """
    entry = entry_of(repository, path)
    if entry is not None:
        force = ("--force", "--force") if entry.locked == CREATION_LOCK else ("--force",)
        repository.out("worktree", "remove", *force, path)


def remove_unfinished(git: Git, worktree: Worktree, now: float) -> None:
    """Remove a worktree whose creation was interrupted, and what git left of it; its branch stays.

    Raises
    ------
    GitError, RunnerError
        If it cannot be removed.
    """
    try:
        repository = repository_of(git, worktree)
        remove_torn_metadata(repository)
    except RepositoryGoneError:
        repository = None
    users = processes_in(worktree.path)
    if users:
        raise RunnerError(
            f"{worktree.path} was never completed, but processes are in it ({', '.join(map(str, users))}): "
            "end them first"
        )
    entry = None if repository is None else entry_of(repository, worktree.path)
    if entry is not None and entry.locked != CREATION_LOCK and os.path.lexists(worktree.path):
        # Somebody else created it: agentd's own would still be locked.
        if entry.branch != worktree.record.branch:
            raise RunnerError(f"{worktree.path} is a worktree that agentd did not create: move it away")
        write_record(git.runner, worktree.path, replace(worktree.record, under_way=None))
        return
    # git refuses to remove an incomplete one.
    delete(git, worktree.path)
    if repository is None:
        return
    unregister(repository, worktree.path)
    if worktree.record.branch is not None:
        remove_stale_lock(repository, branch_lock(repository, worktree.record.branch), now)


def remove_torn_metadata(repository: Git) -> None:
    """Remove the incomplete entries of worktrees that a killed git left: with one of them, git lists no worktrees.

    Raises
    ------
    GitError, RunnerError
        If it cannot be removed.
    """
    try:
        known = sorted((repository.common_dir() / "worktrees").iterdir())
    except OSError:
        return
    for own in known:
        if has_creation_lock(own) and not all(_written(own / name) for name in _NEEDED):
            delete(repository, own)


def _written(file: Path) -> bool:
    try:
        return file.lstat().st_size > 0
    except OSError:
        return False


def remove_stale_lock(git: Git, lock: Path, now: float) -> None:
    """Remove a lock file that a killed git left; waits until it is old enough to tell.

    Parameters
    ----------
    lock
        The lock file.

    Raises
    ------
    RunnerError
        If it cannot be removed.
    """
    found = _identity(lock)
    if found is None:
        return
    age = max(0.0, now - found.st_mtime)
    if age < _STALE:
        git.runner.pause(_STALE - age)
    again = _identity(lock)
    if again is not None and (again.st_ino, again.st_mtime_ns) == (found.st_ino, found.st_mtime_ns):
        delete(git, lock)


def _identity(lock: Path) -> os.stat_result | None:
    try:
        return lock.lstat()
    except OSError:
        return None


def branch_lock(repository: Git, branch: str) -> Path:
    """Give the path of a branch's lock file.

    Raises
    ------
    GitError
        If git cannot say.
    """
    # git's --git-path fails where a branch has the name of a folder.
    return repository.common_dir() / "refs" / "heads" / f"{branch}.lock"
