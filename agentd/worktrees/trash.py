"""Save the work of a worktree in its repository, on refs of agentd's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from agentd.worktrees.changes import snapshot
from agentd.worktrees.git import Git, is_object
from agentd.worktrees.inspect import Work
from agentd.worktrees.record import Worktree
from agentd.worktrees.repository import repository_of

TRASH: Final = "refs/agentd/trash"
"""Prefix of the refs that save what was removed; git never deletes what a ref leads to."""

_KEPT: Final = re.compile(rf"{TRASH}/[A-Za-z0-9._-]+/[0-9TZ.]+/(?:work|branch|head)")


def save_work(git: Git, worktree: Worktree, work: Work, now: float) -> list[str]:
    """Save what a worktree holds on refs; what is saved already is not saved again.

    Parameters
    ----------
    now
        Seconds since the epoch, for the name of the refs.

    Returns
    -------
    The refs, the most complete first.

    Raises
    ------
    GitError, RunnerError
        If git fails.
    """
    repository = repository_of(git, worktree)
    folder = _folder(worktree.name, now)
    refs = []
    if work.head is not None and work.dirty:
        here = git.in_folder(worktree.path)
        own = here.git_dir(repository)
        parents = ["-p", work.head]
        # Dated like HEAD, so that saving the same work twice gives the same commit.
        moment = f"@{here.line('show', '--no-patch', '--format=%ct', work.head)} +0000"
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        staged = here.found("write-tree")
        if staged is not None and is_object(staged):
            # What is staged may differ from the files. A tree with conflicts cannot be written.
            said = _message(worktree, "what was staged")
            index = here.object("commit-tree", staged, "-p", work.head, stdin=said, environment=dates)
            parents += ["-p", index]
        tree = snapshot(here, own)
        said = _message(worktree, "what was not committed")
        commit = here.object("commit-tree", tree, *parents, stdin=said, environment=dates)
        refs.append(_kept_as(repository, worktree, commit) or _keep(repository, f"{folder}/work", commit))
    for name, found in (("branch", work.tip), ("head", work.head)):
        if found is not None and not (name == "head" and found == work.tip):
            refs.append(_kept_as(repository, worktree, found) or _keep(repository, f"{folder}/{name}", found))
    return refs


def _kept_as(repository: Git, worktree: Worktree, commit: str) -> str | None:
    """Find the ref that already saves a commit of this worktree."""
    refs = repository.line(
        "for-each-ref", "--format=%(refname)", f"--points-at={commit}", f"{_folder_of(worktree.name)}/"
    )
    # Shown to people as part of a command, so only in the form that agentd writes.
    return next((ref for ref in refs.splitlines() if _KEPT.fullmatch(ref)), None)


def save_head(repository: Git, name: str, head: str, now: float) -> None:
    """Save the HEAD of a worktree whose folder is gone, if nothing else leads to it.

    Raises
    ------
    GitError
        If git fails.
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


def _message(worktree: Worktree, what: str) -> bytes:
    return f"agentd: {what} in the worktree of {worktree.record.agent}\n".encode("utf-8", "surrogateescape")
