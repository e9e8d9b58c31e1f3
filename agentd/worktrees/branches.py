"""Check that a worktree can have a branch, before git has written anything."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from agentd.worktrees.git import Git, GitError

_HEADS: Final = "refs/heads/"


def refuse_name_in_the_way(repository: Git, branch: str) -> None:
    """Refuse a new branch ``a/b`` beside ``a``, or ``a`` beside ``a/b``: git keeps no branch below another.

    Raises
    ------
    GitError
        If there is such a branch, or git cannot say.
    """
    parts = branch.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts))]
    listed = repository.line(
        "for-each-ref", "--format=%(refname)", *(_HEADS + name for name in above), f"{_HEADS}{branch}/"
    ).splitlines()
    for ref in listed:
        other = ref.removeprefix(_HEADS)
        if other in above or other.startswith(f"{branch}/"):
            raise GitError(
                f"there cannot be a branch {branch} beside the branch {other} of {repository.at}: git keeps none below "
                "another; change branch, or rename that one"
            )


def refuse_in_use(repository: Git, branch: str, path: Path) -> None:
    """Refuse a branch that is checked out in another worktree.

    Parameters
    ----------
    path
        The worktree that is to have it.

    Raises
    ------
    GitError
        If it is, or git cannot say.
    """
    user = repository.line("for-each-ref", "--format=%(worktreepath)", _HEADS + branch)
    if user not in ("", str(path), os.path.realpath(path)):
        move = shlex.join(["git", "-C", str(repository.at), "worktree", "move", user, str(path)])
        raise GitError(
            f"the branch {branch} is already checked out in {user}: change branch, or move that back if it was this "
            f"agent's worktree ({move})"
        )
