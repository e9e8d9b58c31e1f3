"""Recover worktrees after agentd, git or the machine was stopped in the middle of a change."""

from __future__ import annotations

import os
from pathlib import Path

from agentd.worktrees.cleanup import remove_torn_metadata, remove_unfinished
from agentd.worktrees.git import Git
from agentd.worktrees.record import CREATING, Worktree, delete_record, find_set_aside
from agentd.worktrees.repository import repository_of


def recover(git: Git, worktree: Worktree, now: float) -> Path | None:
    """Remove a worktree whose creation was interrupted; finish setting one aside.

    Returns
    -------
    Where the worktree is, if it was set aside; it then has no record at its old path.

    Raises
    ------
    GitError, RecordError, RunnerError
        If that fails.
    """
    if worktree.record.under_way == CREATING:
        remove_unfinished(git, worktree, now)
        return None
    repository = repository_of(git, worktree)
    remove_torn_metadata(repository)
    if not os.path.lexists(worktree.path):
        other = find_set_aside(worktree)
        if other is not None:
            # git renames the folder first, and updates its own files after that.
            repository.out("worktree", "repair", other)
            delete_record(git.runner, worktree.path)
        return other
    return None
