"""Check worktrees: those that no agent uses, and those with empty submodules."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from agentd.cli.agentctl.doctor.finding import Finding, note, unanswered, warning
from agentd.files.answering import NotAnsweringError, within
from agentd.model.user import AgentUser
from agentd.process.runner import Runner
from agentd.text.quoting import some
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.inspect import missing_submodules
from agentd.worktrees.record import RecordError, Worktree, list_worktrees


def check_worktrees(folder: Path, user: AgentUser, known: Collection[str] | None) -> Iterator[Finding]:
    """Check the worktrees that agentd created.

    Parameters
    ----------
    folder
        Folder of the worktrees, absolute.
    user
        The agents' user, who runs git.
    known
        Names of all agents; ``None`` if not known.
    """
    try:
        found = within(folder, lambda: _own_worktrees(folder, user))
    except NotAnsweringError as failure:
        yield unanswered("worktrees", failure)
        return
    except RecordError as failure:
        yield warning("worktrees", str(failure), "see whose folder it is: agentctl worktrees list")
        return
    used = None if known is None else {name.casefold() for name in known}
    left = [] if used is None else [worktree.name for worktree in found if worktree.name.casefold() not in used]
    if left:
        yield note(
            "worktrees",
            f"no agent uses the worktrees of {some(left)}",
            "agentctl worktrees list shows their work, agentctl worktrees clean removes those without any",
        )
    for worktree in found:
        yield from _check_submodules(worktree, user)


def _own_worktrees(folder: Path, user: AgentUser) -> list[Worktree]:
    """List them, unless they belong to another user: hooks and filters set there would run with our rights."""
    try:
        owner = folder.stat().st_uid
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(f"cannot look into {folder}: {error.strerror}") from error
    return list_worktrees(folder)[0] if owner == user.uid and os.geteuid() in (0, owner) else []


def _check_submodules(worktree: Worktree, user: AgentUser) -> Iterator[Finding]:
    try:
        for path in (worktree.path, Path(worktree.record.repo)):
            if not within(path, lambda path=path: os.path.lexists(path)):  # type: ignore[misc]  # bound early
                return
        empty = missing_submodules(Git(Runner(user, os.environ), worktree.path))
    except NotAnsweringError as failure:
        yield unanswered("worktrees", failure)
    except GitError as failure:
        yield note("worktrees", f"{worktree.name}: {failure}", "see agentctl worktrees list")
    else:
        if empty:
            yield warning(
                "worktrees",
                f"{worktree.name}: the submodules {some(empty)} are empty folders",
                f"as {user.name}: git -C {shlex.quote(str(worktree.path))} submodule update --init",
            )
