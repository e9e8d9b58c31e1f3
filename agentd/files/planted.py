"""Paths that lead through a place where a sandboxed agent may have put what it likes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from agentd.files.links import Look
from agentd.files.permissions import may_change
from agentd.model.user import AgentUser


class PlantedError(OSError):
    """A path leads through a place where agents decide what a name leads to."""

    def __init__(self, place: Path) -> None:
        super().__init__(errno.EPERM, f"it leads through {place}, where a sandboxed agent may have put links")
        self.place = place


def not_in(places: Iterable[Path], user: AgentUser | None) -> Look:
    """Refuse, by `PlantedError`, each name that a sandboxed agent may have given to something else.

    Parameters
    ----------
    places
        Folders that sandboxed agents may write.
    user
        Whom agents run as; ``None`` if that is our own user.
    """
    chosen = [Path(os.path.realpath(place)) for place in places]

    def look(step: Path, _entry: os.stat_result) -> None:
        for place in chosen:
            if place in step.parents and _may_rename_in(step.parent, user):
                raise PlantedError(place)

    return look


def _may_rename_in(folder: Path, user: AgentUser | None) -> bool:
    found = folder.stat()
    return found.st_uid == os.geteuid() or os.access(folder, os.W_OK) if user is None else may_change(user, found)
