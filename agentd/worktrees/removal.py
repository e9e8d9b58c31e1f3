"""Remove worktrees without losing work: what exists nowhere else keeps them, or is saved first."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Final

from agentd.process.runner import RunnerError
from agentd.text.quoting import shell_quote
from agentd.worktrees.cleanup import delete, unregister
from agentd.worktrees.git import Git
from agentd.worktrees.inspect import Work, inspect, processes_in
from agentd.worktrees.record import Worktree, delete_record, read_record, removal_path
from agentd.worktrees.recovery import recover
from agentd.worktrees.repository import RepositoryGoneError, repository_of
from agentd.worktrees.snapshots import REMOVED, SavedWorktree, Snapshot, write_snapshot
from agentd.worktrees.trash import save_work

_CHANGED: Final = "it was changed just now; try again"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be deleted with a worktree."""

    force: bool = False
    """Uncommitted and unmerged work, which is saved."""
    ignored: bool = False
    """Ignored files, which are not saved."""
    shell: int | None = None
    """PID of the shell that the agent's last run left in its pane: it may be in the worktree, and ends soon."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The outcome for one worktree."""

    name: str
    path: str
    branch: str | None
    """The branch that was deleted, or stays with the worktree."""
    kept: str | None
    """Why it was kept; ``None`` if it was removed."""
    lost: tuple[str, ...] = ()
    """What was removed that exists nowhere else."""
    recover: tuple[str, ...] = ()
    """Commands that restore it."""
    left: str | None = None
    """Why part of its folder could not be deleted."""


def verdict(work: Work, allowed: Allowed) -> str | None:
    """Say why a worktree has to stay; ``None`` if it may be removed."""
    obstacles = work.obstacles(allowed.shell)
    if obstacles:
        return "; ".join(obstacles)
    reasons, advice = [], []
    if not allowed.force and work.reasons():
        reasons += work.reasons()
        advice.append("--force saves it and removes the worktree")
    if not allowed.ignored and (ignored := work.ignored_reason()) is not None:
        reasons.append(ignored)
        advice.append("--ignored lets ignored files go, unsaved")
    return f"{', '.join(reasons)}; {'; '.join(advice)}" if reasons else None


def remove(git: Git, worktree: Worktree, allowed: Allowed, now: float) -> Removed:
    """Remove a worktree and its branch, unless that loses more than is allowed.

    Parameters
    ----------
    worktree
        The worktree. The caller makes sure that no agent uses it.
    now
        Seconds since the epoch, for the name of what is saved.

    Raises
    ------
    GitError, RecordError, RunnerError
        If git fails, or cannot say what would be lost.
    """
    if read_record(worktree.path) != worktree.record:
        # Changed since the caller read it.
        return kept_because(worktree, _CHANGED)
    try:
        moved = recover(git, worktree, now)
        repository = repository_of(git, worktree)
    except RepositoryGoneError as error:
        return _remove_orphan(git, worktree, allowed, error)
    if moved is not None:
        return kept_because(worktree, f"it was set aside: it is {moved.name} now")
    work = inspect(git, worktree)
    kept = verdict(work, allowed)
    if kept is not None:
        return kept_because(worktree, kept)
    saved = save_work(git, worktree, work, now) if work.reasons() else None
    if saved is not None:
        kept_as = Snapshot.taken(worktree.name, now, REMOVED, saved)
        write_snapshot(git.runner, worktree.path.parent.parent, kept_as)
    if os.path.lexists(worktree.path):
        # What was added since was neither checked nor saved.
        if inspect(git, worktree) != work:
            return kept_because(worktree, _CHANGED)
        _move_away(git, worktree)
    unregister(repository, worktree.path)
    branch = None
    if worktree.record.branch is not None and worktree.record.branch_found is None and work.tip is not None:
        # Only if it has not moved since it was inspected.
        repository.out("update-ref", "-d", f"refs/heads/{worktree.record.branch}", work.tip)
        branch = worktree.record.branch
    left = None
    try:
        delete(git, removal_path(worktree.path))
    except RunnerError as error:
        # For example another user's files. Nothing depends on it.
        left = str(error)
    delete_record(git.runner, worktree.path)
    commands = _recovery(repository, branch, work, saved)
    return Removed(worktree.name, str(worktree.path), branch, None, tuple(work.reasons()), commands, left)


def kept_because(worktree: Worktree, reason: str) -> Removed:
    """Report that a worktree was kept."""
    return Removed(worktree.name, str(worktree.path), worktree.record.branch, reason)


def orphan_verdict(worktree: Worktree, allowed: Allowed, error: RepositoryGoneError) -> str | None:
    """Say why a worktree whose repository is gone has to stay; ``None`` if it may be removed.

    Parameters
    ----------
    error
        Why its repository was not found.
    """
    if not os.path.lexists(worktree.path):
        return None
    users = [str(user) for user in processes_in(worktree.path) if user != allowed.shell]
    if users:
        return f"processes are in it ({', '.join(users)})"
    if allowed.force and allowed.ignored:
        return None
    return f"{error}; nothing in it can be saved: --force --ignored removes it all the same"


def _remove_orphan(git: Git, worktree: Worktree, allowed: Allowed, error: RepositoryGoneError) -> Removed:
    kept = orphan_verdict(worktree, allowed, error)
    if kept is not None:
        return kept_because(worktree, kept)
    there = os.path.lexists(worktree.path)
    delete(git, worktree.path)
    delete_record(git.runner, worktree.path)
    return Removed(worktree.name, str(worktree.path), None, None, ("everything in it",) if there else ())


def _move_away(git: Git, worktree: Worktree) -> None:
    """Rename a worktree before deleting it: an interrupted deletion, file by file, could be taken for work."""
    target = removal_path(worktree.path)
    delete(git, target)
    script = b"mv -- " + shell_quote(worktree.path) + b" " + shell_quote(target)
    git.runner.must(script, f"cannot remove {worktree.path}")


def _recovery(repository: Git, branch: str | None, work: Work, saved: SavedWorktree | None) -> tuple[str, ...]:
    user = repository.runner.user
    # git refuses other users, and root must not run what the repository configures.
    become = f"sudo -u {shlex.quote(user.name)} " if user.switch else ""
    at = f"{become}git -C {shlex.quote(str(repository.at))}"
    commands = []
    if branch is not None and work.tip is not None:
        commands.append(f"{at} branch {shlex.quote(branch)} {work.tip}")
    for kind, found in () if saved is None else (("work", saved.work), ("head", saved.head)):
        if found is not None:
            commands.append(f"{at} branch recovered-{kind} {found.ref}")
    return tuple(commands)
