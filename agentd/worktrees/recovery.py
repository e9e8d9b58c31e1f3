"""Finishing what was begun with a worktree and cut off: by the end of agentd, of git or of the machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from agentd.launch.launcher import quote
from agentd.process.runner import RunnerError
from agentd.worktrees.belonging import repository_of
from agentd.worktrees.cleanup import clear_torn, clear_unfinished, delete, remove_lock_of
from agentd.worktrees.git import CHECKOUT_LIMIT, Git
from agentd.worktrees.inspect import inspect
from agentd.worktrees.record import MAKING, MOVING, Place, forget_held, set_aside_as, write_held
from agentd.worktrees.trash import save


def settle(git: Git, place: Place, now: float) -> Path | None:
    """Finish setting a worktree aside, or bringing it to another commit; remove one that was never finished.

    Parameters
    ----------
    git
        At any place.
    place
        The worktree.
    now
        Seconds since the epoch.

    Returns
    -------
    Where the worktree is, if it was set aside; nothing is known of the place it had then.

    Raises
    ------
    GitError, HeldError, RunnerError
        If it cannot be finished.
    """
    if place.held.under_way == MAKING:
        clear_unfinished(git, place, now)
        return None
    repository = repository_of(git, place)
    clear_torn(repository)
    if not os.path.lexists(place.path):
        other = set_aside_as(place)
        if other is not None:
            # git renames the folder first and takes note of it then.
            repository.out("worktree", "repair", other)
            forget_held(git.runner, place.path)
        return other
    if place.held.under_way == MOVING:
        _finish_move(git, place, now)
    return None


def _finish_move(git: Git, place: Place, now: float) -> None:
    here = git.elsewhere(place.path)
    own = here.own_folder(repository_of(git, place))
    # Of the git that was cut off: nobody else works in a worktree that its agent is not let into.
    for name in ("index", "HEAD", "ORIG_HEAD"):
        delete(git, own / f"{name}.lock")
    if place.held.branch is not None:
        remove_lock_of(here, place.held.branch, now)
    work = inspect(git, place)
    if work.dirty or work.unmerged:
        # Files of either commit, most likely; but who knows what an operator did.
        save(git, place, work, now)
    protect(here, protected=False)
    here.out("reset", "--quiet", "--hard", place.held.base_commit, limit=CHECKOUT_LIMIT)
    if place.held.branch is None:
        protect(here)
    write_held(git.runner, place.path, replace(place.held, under_way=None))


def protect(here: Git, *, protected: bool = True) -> None:
    """Write-protect the files of a checkout, or undo that; links are not followed.

    Raises
    ------
    RunnerError
        If that cannot be.
    """
    mode = b"a-w" if protected else b"u+w"
    done = here.runner.script(b"chmod -R " + mode + b" -- " + quote(os.fsencode(here.at)), limit=CHECKOUT_LIMIT)
    if done.status != 0:
        raise RunnerError(f"cannot write-protect {here.at}: {done.reason}")
