"""Reads the status file of one run whenever it has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Ground
from agentd.turns.claude import status_file
from agentd.turns.claude.dialogs import WAITS
from agentd.turns.claude.status_file import Status
from agentd.turns.file_changes import FileWatch, Stamp
from agentd.turns.reading import Reading

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class StatusWatch:
    """The status file of a run of `agent`."""

    agent: str
    config: Path
    """Claude Code's own folder."""
    process: ProcessIdentity
    files: Reading
    ground: Ground
    news: Callable[[], None]
    """Called when the file has changed."""
    changed: bool = False
    """Whether it has changed since it was read last."""
    _there: bool = False
    _watch: FileWatch = field(init=False)

    def __post_init__(self) -> None:
        """Be told of changes."""
        self._watch = self.files.watch(self.ground.changes, self._path, self._may_have_changed)

    @property
    def _path(self) -> Path:
        return self.config / "sessions" / f"{self.process.pid}.json"

    def _may_have_changed(self, stamp: Stamp | None) -> None:
        self._there, self.changed = stamp is not None, True
        self.news()

    async def read(self) -> Status | None:
        """What it says now; ``None`` if nothing that is known to be of this process."""
        self.changed = False
        if not self._there:
            return None
        try:
            data = await self.ground.looks.look(self._path, lambda: self.files.all(self._path, status_file.LONGEST))
        except (OSError, NotAnsweringError) as error:
            log.debug("status_file_unreadable", agent=self.agent, reason=error.strerror)
            return None
        return status_file.parse(data, self.process, self.ground.wall())

    async def waits_since(self) -> float | None:
        """Since when Claude Code waits now; what else the file says is still to be read."""
        status = await self.read()
        self.changed = True
        self.news()
        return waits_since(status)

    def forget(self) -> None:
        """Be told no more."""
        self.ground.changes.forget(self._watch)


def waits_since(status: Status | None) -> float | None:
    """Since when Claude Code waits, in seconds since the epoch; 0 without a status file, ``None`` if it does not."""
    if status is None or status.activity is Activity.UNKNOWN:
        return 0.0
    return status.at if status.activity in WAITS else None
