"""Removing worktrees without losing work: what no commit or branch elsewhere holds stays, or is saved first."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import Final

from agentd.launch.launcher import quote
from agentd.process.runner import RunnerError
from agentd.worktrees.belonging import RepositoryGoneError, repository_of
from agentd.worktrees.cleanup import delete, forget_missing
from agentd.worktrees.git import Git
from agentd.worktrees.inspect import Work, inspect, processes_in
from agentd.worktrees.record import Place, forget_held, read_held, rubbish_of
from agentd.worktrees.recovery import settle
from agentd.worktrees.trash import save

_CHANGED: Final = "it was changed just now; try again"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may go with a worktree."""

    force: bool = False
    """Uncommitted and unmerged work: it is saved."""
    ignored: bool = False
    """What git ignores: it is not saved."""
    shell: int | None = None
    """The one that its agent's run left in it, which ends as soon as it is gone."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of a worktree."""

    name: str
    path: str
    branch: str | None
    """The branch that went with it."""
    kept: str | None
    """Why it is still there; ``None`` if it is gone."""
    lost: tuple[str, ...] = ()
    """What went with it that was nowhere else."""
    recover: tuple[str, ...] = ()
    """Commands that bring it back."""
    left: str | None = None
    """What of its folder could not be deleted, and why."""


def verdict(work: Work, allowed: Allowed) -> str | None:
    """Say why a worktree has to stay, or ``None`` if it may go."""
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


def remove(git: Git, place: Place, allowed: Allowed, now: float) -> Removed:
    """Remove a worktree and its branch, if nothing is lost that may not be.

    Parameters
    ----------
    git
        At any place.
    place
        The worktree. That its agent is neither declared nor running is for the caller to know.
    allowed
        What may go with it.
    now
        Seconds since the epoch, for the name of what is saved.

    Raises
    ------
    GitError, HeldError, RunnerError
        If git cannot, or cannot say what would be lost.
    """
    if read_held(place.path) != place.held:
        # Others had their turn since the caller looked.
        return Removed(place.name, str(place.path), place.held.branch, _CHANGED)
    try:
        elsewhere = settle(git, place, now)
        repository = repository_of(git, place)
    except RepositoryGoneError as error:
        return _remove_orphan(git, place, allowed, error)
    if elsewhere is not None:
        return Removed(place.name, str(place.path), place.held.branch, f"it was set aside: it is {elsewhere.name} now")
    work = inspect(git, place)
    kept = verdict(work, allowed)
    if kept is not None:
        return Removed(place.name, str(place.path), place.held.branch, kept)
    saved = save(git, place, work, now) if work.reasons() else []
    if os.path.lexists(place.path):
        # What came since was neither judged nor saved.
        if inspect(git, place) != work:
            return Removed(place.name, str(place.path), place.held.branch, _CHANGED)
        _take_away(git, place)
    forget_missing(repository, place.path)
    branch = None
    if place.held.branch is not None and work.tip is not None:
        # Only if it still is where it was looked at.
        repository.out("update-ref", "-d", f"refs/heads/{place.held.branch}", work.tip)
        branch = place.held.branch
    left = None
    try:
        delete(git, rubbish_of(place.path))
    except RunnerError as error:
        # Files of somebody else, say. All that matters is done.
        left = str(error)
    forget_held(git.runner, place.path)
    recover = _recovery(repository, branch, work, saved)
    return Removed(place.name, str(place.path), branch, None, tuple(work.reasons()), recover, left)


def orphan_verdict(place: Place, allowed: Allowed, error: RepositoryGoneError) -> str | None:
    """Say why a worktree has to stay whose repository is gone, or ``None`` if it may go."""
    if not os.path.lexists(place.path):
        return None
    users = [str(user) for user in processes_in(place.path) if user != allowed.shell]
    if users:
        return f"processes are in it ({', '.join(users)})"
    if allowed.force and allowed.ignored:
        return None
    return f"{error}; nothing in it can be saved: --force --ignored removes it all the same"


def _remove_orphan(git: Git, place: Place, allowed: Allowed, error: RepositoryGoneError) -> Removed:
    kept = orphan_verdict(place, allowed, error)
    if kept is not None:
        return Removed(place.name, str(place.path), place.held.branch, kept)
    there = os.path.lexists(place.path)
    delete(git, place.path)
    forget_held(git.runner, place.path)
    return Removed(place.name, str(place.path), None, None, ("everything in it",) if there else ())


def _take_away(git: Git, place: Place) -> None:
    """Take a worktree out of its place in one step: git deletes file by file, its own link to the repository first."""
    rubbish = rubbish_of(place.path)
    delete(git, rubbish)
    path = quote(os.fsencode(place.path))
    done = git.runner.script(b"mv -- " + path + b" " + quote(os.fsencode(rubbish)))
    if done.status != 0:
        raise RunnerError(f"cannot remove {place.path}: {done.reason}")


def _recovery(repository: Git, branch: str | None, work: Work, saved: list[str]) -> tuple[str, ...]:
    user = repository.runner.user
    # git lets nobody else use the repository, and what is set up there is not to be run by root.
    become = f"sudo -u {shlex.quote(user.name)} " if user.switch else ""
    at = f"{become}git -C {shlex.quote(str(repository.at))}"
    commands = []
    if branch is not None and work.tip is not None:
        commands.append(f"{at} branch {shlex.quote(branch)} {work.tip}")
    for ref in saved:
        kind = ref.rpartition("/")[2]
        if kind != "branch":
            commands.append(f"{at} branch recovered-{kind} {ref}")
    return tuple(commands)
