"""Paths that a jcard names for a sandbox, resolved so that no agent decides what they lead to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from agentd.files.permissions import may_change
from agentd.model.user import AgentUser
from agentd.sandbox.support import SandboxError

_MOST_LINKS = 40
"""As many as Linux follows."""

Go = Callable[[str | Path], None]
"""Told of each path before it is touched."""


def resolved(path: Path, what: str, user: AgentUser, go: Go) -> Path:
    """Resolve a path that must be there.

    A link in a folder that the agents' user may change is refused: an agent could have put it there, to be given what
    it leads to.

    Raises
    ------
    SandboxError
        If it is not there, or leads through such a link.
    """
    at, left, links = Path("/"), list(reversed(path.parts[1:])), 0
    try:
        while left:
            part = left.pop()
            if part == "..":
                at = at.parent
                continue
            step = at / part
            go(step)
            if not stat.S_ISLNK(step.lstat().st_mode):
                at = step
                continue
            if may_change(user, at.stat()):
                raise SandboxError(
                    f"{what} {path} leads through the symlink {step}, which agents could have put there: "
                    f"write the path that it leads to"
                )
            links += 1
            if links > _MOST_LINKS:
                raise SandboxError(f"{what} {path} leads through too many symlinks")
            target = step.readlink()
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            at = Path("/") if target.is_absolute() else at
    except OSError as error:
        raise SandboxError(f"{what} {path} cannot be used: {error.strerror}; create it, or leave it out") from error
    return at


def identity(path: Path) -> str:
    """Say which file it is, as ``stat -c %d:%i`` does."""
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def inside(path: Path, folder: Path) -> bool:
    """Whether a path is a folder, or below it."""
    return path == folder or folder in path.parents


def real(path: str | Path) -> Path:
    """Resolve a path of the operator's."""
    return Path(os.path.realpath(path))
