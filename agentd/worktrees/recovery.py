"""Finishing what was begun with a worktree and cut off: by the end of agentd, of git or of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from agentd.worktrees.belonging import repository_of
from agentd.worktrees.cleanup import clear_torn, clear_unfinished
from agentd.worktrees.git import Git
from agentd.worktrees.record import MAKING, Place, forget_held, set_aside_as


def settle(git: Git, place: Place, now: float) -> Path | None:
    """Finish setting a worktree aside; remove one that was never finished.

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
    return None
