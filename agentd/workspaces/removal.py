"""Removing worktrees without losing work: what no commit or branch elsewhere holds stays, or is saved first."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentd.tmux.launcher import quote
from agentd.workspaces.changes import snapshot
from agentd.workspaces.git import CHECKOUT_LIMIT, Git
from agentd.workspaces.held import Place, forget_held
from agentd.workspaces.work import Work, inspect

TRASH: Final = "refs/agentd/trash"
"""Where what was deleted is kept; git never deletes what a ref leads to."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may go with a worktree."""

    force: bool = False
    """Uncommitted and unmerged work: it is saved."""
    ignored: bool = False
    """What git ignores: it is not saved."""


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


def verdict(work: Work, allowed: Allowed) -> str | None:
    """Say why a worktree has to stay, or ``None`` if it may go."""
    obstacles = work.obstacles()
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
    repository = git.elsewhere(Path(place.held.repo))
    work = inspect(git, place)
    kept = verdict(work, allowed)
    if kept is not None:
        return Removed(place.name, str(place.path), place.held.branch, kept)
    saved = _save(git, place, work, now) if work.reasons() else []
    if os.path.lexists(place.path):
        # What is write-protected cannot be deleted from.
        git.runner.script(b"chmod -R u+w -- " + quote(os.fsencode(place.path)), limit=CHECKOUT_LIMIT)
        force = ("--force",) if work.dirty or work.ignored else ()
        # A worktree that was finished, but agentd ended before it could say so.
        repository.finish("worktree", "unlock", place.path)
        # Without --force git looks once more, and keeps what came since.
        repository.out("worktree", "remove", *force, place.path, limit=CHECKOUT_LIMIT)
    else:
        _forget_missing(repository, place)
    branch = None
    if place.held.branch is not None and work.tip is not None:
        # Only if it still is where it was looked at.
        repository.out("update-ref", "-d", f"refs/heads/{place.held.branch}", work.tip)
        branch = place.held.branch
    forget_held(git.runner, place.path)
    return Removed(
        place.name, str(place.path), branch, None, tuple(work.reasons()), _recovery(repository.at, branch, work, saved)
    )


def _forget_missing(repository: Git, place: Place) -> None:
    listed = repository.out("worktree", "list", "--porcelain", "-z").split(b"\0")
    if b"worktree " + os.fsencode(place.path) in listed:
        repository.out("worktree", "remove", "--force", place.path)


def _save(git: Git, place: Place, work: Work, now: float) -> list[str]:
    """Keep what a worktree holds on refs of their own; returns the refs, the most complete first."""
    repository = git.elsewhere(Path(place.held.repo))
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder = f"{TRASH}/{place.name.replace('~', '-')}/{stamp}"
    refs = []
    if work.head is not None and work.dirty:
        here = git.elsewhere(place.path)
        own = here.own_folder(repository.at)
        parents = ["-p", work.head]
        staged = here.found("write-tree")
        if staged is not None:
            # What was staged may differ from what lies in the folder; conflicts cannot be written.
            index = here.line("commit-tree", staged, "-p", work.head, stdin=_message(place, "what was staged"))
            parents += ["-p", index]
        tree = snapshot(here, own)
        commit = here.line("commit-tree", tree, *parents, stdin=_message(place, "what was not committed"))
        refs.append(_keep(repository, f"{folder}/work", commit))
    for name, found in (("branch", work.tip), ("head", work.head)):
        if found is not None and not (name == "head" and found == work.tip):
            refs.append(_keep(repository, f"{folder}/{name}", found))
    return refs


def _keep(repository: Git, ref: str, commit: str) -> str:
    repository.out("update-ref", "-m", "agentctl worktrees clean", ref, commit, "0" * len(commit))
    return ref


def _message(place: Place, what: str) -> bytes:
    return f"agentd: {what} in the worktree of {place.held.agent}\n".encode("utf-8", "surrogateescape")


def _recovery(repo: Path, branch: str | None, work: Work, saved: list[str]) -> tuple[str, ...]:
    at = f"git -C {shlex.quote(str(repo))}"
    commands = []
    if branch is not None and work.tip is not None:
        commands.append(f"{at} branch {shlex.quote(branch)} {work.tip}")
    for ref in saved:
        kind = ref.rpartition("/")[2]
        if kind != "branch":
            commands.append(f"{at} branch recovered-{kind} {ref}")
    return tuple(commands)
