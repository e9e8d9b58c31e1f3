"""Which folder on the way to a path keeps the agent user out, by its permission bits."""

from __future__ import annotations

from pathlib import Path

from agentd.model.user import AgentUser


def closed_folder(folder: Path, user: AgentUser) -> Path | None:
    """Name the first folder, from the root down to `folder` itself, that the user may not enter.

    Raises
    ------
    OSError
        If one of them cannot be looked at.
    """
    resolved = folder.resolve()
    for each in (*reversed(resolved.parents), resolved):
        found = each.stat()
        if not user.may_enter(found.st_mode, found.st_uid, found.st_gid):
            return each
    return None
