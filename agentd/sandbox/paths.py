"""Paths that a jcard names for a sandbox, resolved so that no agent decides what they lead to."""

from __future__ import annotations

import errno
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

    def refuse(link: Path) -> None:
        if may_change(user, link.parent.stat()):
            raise SandboxError(
                f"{what} {path} leads through the symlink {link}, which agents could have put there: "
                f"write the path that it leads to"
            )

    try:
        return followed(path, refuse, go)
    except OSError as error:
        raise SandboxError(f"{what} {path} cannot be used: {error.strerror}; create it, or leave it out") from error


def followed(path: Path, on_link: Callable[[Path], None], go: Go) -> Path:
    """Resolve a path as the kernel does.

    Parameters
    ----------
    on_link
        Told of each link on the way before it is followed, by a path without further ones.

    Raises
    ------
    OSError
        If it is not there, or leads through too many links.
    """
    at, left, links = Path("/"), list(reversed(path.parts[1:])), 0
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
        on_link(step)
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = step.readlink()
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        at = Path("/") if target.is_absolute() else at
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
