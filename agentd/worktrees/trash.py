"""Save the work of a worktree in its repository, on refs of agentd's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agentd.worktrees.changes import snapshot
from agentd.worktrees.git import Git, is_object
from agentd.worktrees.inspect import Work
from agentd.worktrees.record import Worktree
from agentd.worktrees.repository import repository_of
from agentd.worktrees.snapshots import SavedRef, SavedWorktree, stamp_of

TRASH: Final = "refs/agentd/trash"
"""Prefix of the refs that save what was removed; git never deletes what a ref leads to."""

SNAPSHOTS: Final = "refs/agentd/snapshots"
"""Prefix of the refs that save what somebody asked to be saved."""

_KEPT: Final = r"/[A-Za-z0-9._-]+/[0-9TZ.]+/(?:work|branch|head)"


def save_work(git: Git, worktree: Worktree, work: Work, now: float, prefix: str = TRASH) -> SavedWorktree:
    """Save what a worktree holds on refs; what is saved already is not saved again.

    Parameters
    ----------
    now
        Seconds since the epoch, for the name of the refs.
    prefix
        Of the refs.

    Raises
    ------
    GitError, RunnerError
        If git fails.
    """
    repository = repository_of(git, worktree)
    saved = _Refs(repository, worktree, prefix, now)
    unsaved = None
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
        unsaved = saved.save("work", commit)
    branch = None if work.tip is None else saved.save("branch", work.tip)
    head = None if work.head is None or work.head == work.tip else saved.save("head", work.head)
    return SavedWorktree(worktree.record, branch, head, unsaved)


@dataclass(frozen=True, slots=True)
class _Refs:
    """The refs that save a worktree."""

    repository: Git
    worktree: Worktree
    prefix: str
    now: float

    def save(self, kind: str, commit: str) -> SavedRef:
        """Save a commit, unless a ref for this worktree does already."""
        ref = self._kept_as(commit)
        if ref is None:
            ref = f"{_folder(self.prefix, self.worktree.name, self.now)}/{kind}"
            _keep(self.repository, ref, commit)
        return SavedRef(ref, commit)

    def _kept_as(self, commit: str) -> str | None:
        below = f"{_folder_of(self.prefix, self.worktree.name)}/"
        refs = self.repository.line("for-each-ref", "--format=%(refname)", f"--points-at={commit}", below)
        # Shown to people as part of a command, so only in the form that agentd writes.
        return next((ref for ref in refs.splitlines() if re.fullmatch(re.escape(self.prefix) + _KEPT, ref)), None)


def save_head(repository: Git, name: str, head: str, now: float) -> None:
    """Save the HEAD of a worktree whose folder is gone, if nothing else leads to it.

    Raises
    ------
    GitError
        If git fails.
    """
    known = ("--branches", "--tags", "--remotes", f"--glob={TRASH}")
    if repository.commit(head) is not None and repository.number("rev-list", "--count", head, "--not", *known):
        _keep(repository, f"{_folder(TRASH, name, now)}/head", head)


def _folder(prefix: str, name: str, now: float) -> str:
    return f"{_folder_of(prefix, name)}/{stamp_of(now)}"


def _folder_of(prefix: str, name: str) -> str:
    return f"{prefix}/{name.replace('~', '-')}"


def _keep(repository: Git, ref: str, commit: str) -> None:
    repository.out("update-ref", "-m", "agentd saves work", ref, commit, "0" * len(commit))


def _message(worktree: Worktree, what: str) -> bytes:
    return f"agentd: {what} in the worktree of {worktree.record.agent}\n".encode("utf-8", "surrogateescape")
