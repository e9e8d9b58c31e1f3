"""Which repository a worktree belongs to: the one that has it registered, whatever path that repository has by now."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.worktrees.git import NO_REPOSITORY, Git, GitError, same_folder, split_z
from agentd.worktrees.record import Held, Place


class RepositoryGoneError(GitError):
    """The repository of a worktree is not where it was, and nothing leads to where it is now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A worktree in git's own list."""

    head: str
    """Commit; zeros where there is none yet."""
    locked: str | None
    """Why it is locked, ``""`` without a reason; ``None`` if it is not."""
    branch: str | None
    """The branch that is checked out there."""


def entry_of(repository: Git, path: Path) -> Entry | None:
    """Find a worktree in git's own list, whether its folder is there or not.

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


def repository_of(git: Git, place: Place) -> Git:
    """Find the repository of a worktree: where it was when that was made, or where the worktree's own link leads.

    Raises
    ------
    RepositoryGoneError
        If it is not there any more.
    GitError
        If git cannot say, or may not use it.
    """
    known = git.elsewhere(Path(place.held.repo))
    if _common(known) is not None:
        return known
    here = git.elsewhere(place.path)
    common = _common(here) if os.path.lexists(place.path / ".git") else None
    if common is not None and entry_of(here, place.path) is not None:
        return git.elsewhere(common)
    raise RepositoryGoneError(
        f"its repository {place.held.repo} is gone; if that was moved, put its new path into the jcard, "
        f"or run git -C NEW_PATH worktree repair"
    )


def under_another_path(git: Git, place: Place, repo: Path) -> Held | None:
    """Recognise the repository of a worktree by another path: a link to it, a mount of it, or where it was moved.

    Parameters
    ----------
    git
        At any place.
    place
        The worktree.
    repo
        The other path.

    Returns
    -------
    What is known of the worktree with that path; ``None`` if another repository is there.

    Raises
    ------
    GitError
        If git cannot say.
    """
    there, known = git.elsewhere(repo), git.elsewhere(Path(place.held.repo))
    common, former = _common(there), _common(known)
    if common is None:
        return None
    moved = former is None or not same_folder(former, common)
    if moved and (entry_of(there, place.path) is None or (former is not None and entry_of(known, place.path))):
        return None
    if moved:
        mend_link(there)
    return replace(place.held, repo=str(repo))


def mend_link(repository: Git) -> None:
    """Have worktrees lead to their repository again that was moved.

    Raises
    ------
    GitError
        If git cannot be run; it may be unable to mend those of others.
    """
    repository.finish("worktree", "repair")


def _common(git: Git) -> Path | None:
    """Find the folder that all worktrees of a repository share; ``None`` if there is no repository."""
    done = git.finish("rev-parse", "--path-format=absolute", "--git-common-dir")
    if done.status == 0 and b"\0" not in done.out:
        return Path(os.fsdecode(done.out.removesuffix(b"\n")))
    if NO_REPOSITORY in done.err or not os.path.lexists(git.at):
        return None
    raise GitError(f"git rev-parse in {git.at}: {done.reason}")
