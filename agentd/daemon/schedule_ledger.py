"""How far the schedules of agents have come, kept over restarts of agentd in a file of the state directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, Field

from agentd.files.kept_file import KeptFile
from agentd.files.versioned_file import Format, UnusableError
from agentd.supervise.scheduling import Standing

log = structlog.get_logger(__name__)

FILE: Final = "schedules.json"
"""Name in the state directory."""

VERSION: Final = 1

_EFFECT: Final = "schedules count from now on; starts that were missed meanwhile are not made"


class _Entry(BaseModel):
    """One agent's."""

    model_config = ConfigDict(strict=True, extra="ignore")

    cron: str
    zone: str | None = None
    since: float = Field(ge=0, le=2**40)
    due: float | None = Field(None, ge=0, le=2**40)
    by_hand: bool = False
    restarted_at: str | None = None


class _File(BaseModel):
    """All of them."""

    model_config = ConfigDict(strict=True, extra="ignore")

    agents: dict[str, _Entry]


class ScheduleLedger:
    """Reads and writes the file.

    Parameters
    ----------
    path
        Of it.
    """

    def __init__(self, path: Path) -> None:
        self._file = KeptFile(path, Format(VERSION, _File.model_validate), self._not_kept)

    def load(self) -> Mapping[str, Standing]:
        """Read how far schedules had come; nothing, if the file is missing or not to be used."""
        try:
            found = self._file.read()
        except UnusableError as error:
            log.warning("schedules_forgotten", path=str(self._file.path), reason=str(error), effect=_EFFECT)
            return {}
        if found is None:
            return {}
        return {
            name: Standing(each.cron, each.zone, each.since, None, each.due, each.by_hand, each.restarted_at)
            for name, each in found.agents.items()
        }

    def keep(self, standings: Mapping[str, Standing]) -> None:
        """Write them down before anything is launched by them: 0.1 ms, and rare."""
        agents = {
            name: _Entry(
                cron=each.cron,
                zone=each.zone,
                since=each.since,
                due=each.due,
                by_hand=each.by_hand,
                restarted_at=each.restarted_at,
            ).model_dump(exclude_defaults=True)
            for name, each in standings.items()
        }
        self._file.keep({"agents": agents})

    def _not_kept(self, reason: str) -> None:
        effect = "until it can be, a later agentd may make a start again, or none that was missed"
        log.warning("schedules_not_kept", path=str(self._file.path), reason=reason, effect=effect)
