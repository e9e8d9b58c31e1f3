"""What a git worktree needs of its repository, and what of that an agent must not change.

For a commit git writes objects, refs, logs and the worktree's own folder. What decides which programs git executes (the
repository's configuration, its hooks, and the files that say which repository a worktree belongs to) stays read-only:
whoever uses git there outside of the sandbox would execute what an agent wrote.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from agentd.files.links import Go
from agentd.files.regular import read_regular
from agentd.sandbox.paths import real
from agentd.sandbox.rules import Access, Rule
from agentd.sandbox.support import SandboxError

_LONGEST: Final = 8192
"""Bytes of a file that holds a path."""
_WRITTEN: Final = ("objects", "refs", "logs")
_POINTER: Final = "gitdir: "


def repository_rules(repo: Path, worktree: Path, *, read_only: bool, go: Go) -> list[Rule]:
    """Say what of a repository the agent in one of its worktrees gets, which may be `read_only`.

    Raises
    ------
    SandboxError
        If that is no worktree of the repository.
    """
    go(repo)
    common, own = _common(repo), _pointed_at(worktree)
    if common is None or own is None or own.parent != common / "worktrees":
        raise SandboxError(f"{worktree} is not a worktree of {repo}: move it away, and agentd makes it again")
    if read_only:
        return [Rule(common, Access.READ)]
    kept = [worktree / ".git", own / "commondir", own / "gitdir", common / "objects/info/alternates"]
    return [
        Rule(common, Access.READ),
        *(Rule(common / name, Access.WRITE) for name in _WRITTEN if (common / name).is_dir()),
        Rule(own, Access.WRITE),
        *(Rule(path, Access.READ) for path in kept if path.exists()),
        # A configuration of the worktree's own, where the repository allows that; made empty where there is none.
        Rule(own / "config.worktree", Access.READ if (own / "config.worktree").exists() else Access.HIDDEN_FILE),
    ]


def _common(repo: Path) -> Path | None:
    """Find the folder that all worktrees of a repository share."""
    inner = repo / ".git"
    if inner.is_dir():
        return real(inner)
    if not os.path.lexists(inner):
        return real(repo) if (repo / "objects").is_dir() and (repo / "HEAD").is_file() else None
    own = _pointed_at(repo)
    if own is None:
        return None
    try:
        return real(own / _line(own / "commondir"))
    except OSError:
        return own


def _pointed_at(worktree: Path) -> Path | None:
    try:
        line = _line(worktree / ".git")
    except OSError:
        return None
    return real(worktree / line.removeprefix(_POINTER)) if line.startswith(_POINTER) else None


def _line(path: Path) -> str:
    return os.fsdecode(read_regular(path, _LONGEST)).removesuffix("\n")
