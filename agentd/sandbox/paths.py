"""Paths that a jcard names for a sandbox, resolved so that no agent decides what they lead to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agentd.files.links import Go, followed
from agentd.files.permissions import may_change
from agentd.model.user import AgentUser
from agentd.sandbox.support import SandboxError


def resolved(path: Path, what: str, user: AgentUser, go: Go) -> Path:
    """Resolve a path that must be there.

    A link in a folder that the agents' user may change is refused: an agent could have put it there, to be given what
    it leads to.

    Raises
    ------
    SandboxError
        If it is not there, or leads through such a link.
    """

    def refuse(step: Path, entry: os.stat_result) -> None:
        if stat.S_ISLNK(entry.st_mode) and may_change(user, step.parent.stat()):
            raise SandboxError(
                f"{what} {path} leads through the symlink {step}, which agents could have put there: "
                f"write the path that it leads to"
            )

    try:
        return followed(path, refuse, go)
    except OSError as error:
        raise SandboxError(f"{what} {path} cannot be used: {error.strerror}; create it, or leave it out") from error


def identity(path: Path) -> str:
    """Say which file it is, as ``stat -c %d:%i`` does."""
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def real(path: str | Path) -> Path:
    """Resolve a path of the operator's."""
    return Path(os.path.realpath(path))
