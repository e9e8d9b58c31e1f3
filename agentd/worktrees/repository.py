"""Find the repository of a worktree: the one that lists it, whatever its path is by now."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.worktrees.git import NO_REPOSITORY, Git, GitError, same_folder, split_z
from agentd.worktrees.record import Worktree, WorktreeRecord


class RepositoryGoneError(GitError):
    """The repository of a worktree is not at its path, and the worktree does not lead to it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A worktree as git lists it."""

    head: str
    """Commit; zeros if there is none yet."""
    locked: str | None
    """Reason of its lock, ``""`` if none was given; ``None`` if it is not locked."""
    branch: str | None
    """The branch that is checked out, ``None`` for a detached HEAD."""


def entry_of(repository: Git, path: Path) -> Entry | None:
    """Find a worktree in git's list; its folder may be gone.

    Raises
    ------
    GitError
        If git cannot say.
    """
    for text in repository.out("worktree", "list", "--porcelain", "-z").split(b"\0\0"):
        words = dict(line.partition(" ")[::2] for line in split_z(text))
        if words.get("worktree") in (str(path), os.path.realpath(path)):
            branch = words.get("branch")
            return Entry(words.get("HEAD", ""), words.get("locked"), branch and branch.removeprefix("refs/heads/"))
    return None


def repository_of(git: Git, worktree: Worktree) -> Git:
    """Find the repository of a worktree: at its recorded path, or where the worktree's link leads.

    Raises
    ------
    RepositoryGoneError
        If it is at neither.
    GitError
        If git cannot say, or refuses to use it.
    """
    known = git.in_folder(Path(worktree.record.repo))
    if _common(known) is not None:
        return known
    here = git.in_folder(worktree.path)
    common = _common(here) if os.path.lexists(worktree.path / ".git") else None
    if common is not None and entry_of(here, worktree.path) is not None:
        return git.in_folder(common)
    raise RepositoryGoneError(
        f"its repository {worktree.record.repo} is gone; if it was moved, put its new path into the jcard, "
        f"or run git -C NEW_PATH worktree repair"
    )


def recognize_repository(git: Git, worktree: Worktree, repo: Path) -> WorktreeRecord | None:
    """Tell whether a path leads to the repository of a worktree: by a link, a mount, or because it was moved.

    Returns
    -------
    The record with that path; ``None`` if it leads to another repository.

    Raises
    ------
    GitError
        If git cannot say.
    """
    there, known = git.in_folder(repo), git.in_folder(Path(worktree.record.repo))
    common, former = _common(there), _common(known)
    if common is None:
        return None
    moved = former is None or not same_folder(former, common)
    if moved and (entry_of(there, worktree.path) is None or (former is not None and entry_of(known, worktree.path))):
        return None
    if moved:
        repair_links(there)
    return replace(worktree.record, repo=str(repo))


def repair_links(repository: Git) -> None:
    """Repair the links between a moved repository and its worktrees.

    Raises
    ------
    GitError
        If git cannot be run. It may be unable to repair links of other users.
    """
    repository.finish("worktree", "repair")


def _common(git: Git) -> Path | None:
    """Give the git directory that all worktrees of a repository share; ``None`` if there is no repository."""
    done = git.finish("rev-parse", "--path-format=absolute", "--git-common-dir")
    if done.status == 0 and b"\0" not in done.out:
        return Path(os.fsdecode(done.out.removesuffix(b"\n")))
    if NO_REPOSITORY in done.err or not git.at.is_dir():
        return None
    raise GitError(f"git rev-parse in {git.at}: {done.reason}")
