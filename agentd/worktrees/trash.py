"""Keeping the work of a worktree in its repository, on refs of their own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from agentd.worktrees.belonging import repository_of
from agentd.worktrees.changes import snapshot
from agentd.worktrees.git import Git, is_object
from agentd.worktrees.inspect import Work
from agentd.worktrees.record import Place

TRASH: Final = "refs/agentd/trash"
"""Where what was deleted is kept; git never deletes what a ref leads to."""

_KEPT: Final = re.compile(rf"{TRASH}/[A-Za-z0-9._-]+/[0-9TZ.]+/(?:work|branch|head)")


def save(git: Git, place: Place, work: Work, now: float) -> list[str]:
    """Keep what a worktree holds on refs of their own; what is kept already is not kept again.

    Returns
    -------
    The refs, the most complete first.

    Raises
    ------
    GitError, RunnerError
        If git cannot.
    """
    repository = repository_of(git, place)
    folder = _folder(place.name, now)
    refs = []
    if work.head is not None and work.dirty:
        here = git.elsewhere(place.path)
        own = here.own_folder(repository)
        parents = ["-p", work.head]
        # Of the last commit, so that the same work is the same commit however often it is saved.
        moment = f"@{here.line('show', '--no-patch', '--format=%ct', work.head)} +0000"
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        staged = here.found("write-tree")
        if staged is not None and is_object(staged):
            # What was staged may differ from what lies in the folder; conflicts cannot be written.
            said = _message(place, "what was staged")
            index = here.object("commit-tree", staged, "-p", work.head, stdin=said, environment=dates)
            parents += ["-p", index]
        tree = snapshot(here, own)
        said = _message(place, "what was not committed")
        commit = here.object("commit-tree", tree, *parents, stdin=said, environment=dates)
        refs.append(_kept_as(repository, place, commit) or _keep(repository, f"{folder}/work", commit))
    for name, found in (("branch", work.tip), ("head", work.head)):
        if found is not None and not (name == "head" and found == work.tip):
            refs.append(_kept_as(repository, place, found) or _keep(repository, f"{folder}/{name}", found))
    return refs


def _kept_as(repository: Git, place: Place, commit: str) -> str | None:
    """Find the ref that keeps a commit of this worktree already."""
    refs = repository.line("for-each-ref", "--format=%(refname)", f"--points-at={commit}", f"{_folder_of(place.name)}/")
    # What is shown to people to be typed is of a form that we gave it.
    return next((ref for ref in refs.splitlines() if _KEPT.fullmatch(ref)), None)


def save_head(repository: Git, name: str, head: str, now: float) -> None:
    """Keep a commit that only a worktree led to whose folder is gone.

    Raises
    ------
    GitError
        If git cannot.
    """
    known = ("--branches", "--tags", "--remotes", f"--glob={TRASH}")
    if repository.commit(head) is not None and repository.number("rev-list", "--count", head, "--not", *known):
        _keep(repository, f"{_folder(name, now)}/head", head)


def _folder(name: str, now: float) -> str:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{_folder_of(name)}/{stamp}"


def _folder_of(name: str) -> str:
    return f"{TRASH}/{name.replace('~', '-')}"


def _keep(repository: Git, ref: str, commit: str) -> str:
    repository.out("update-ref", "-m", "agentctl worktrees clean", ref, commit, "0" * len(commit))
    return ref


def _message(place: Place, what: str) -> bytes:
    return f"agentd: {what} in the worktree of {place.held.agent}\n".encode("utf-8", "surrogateescape")
