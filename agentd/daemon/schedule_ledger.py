"""How far the schedules of agents have come, kept over restarts of agentd in a file of the state directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


class _Version(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    v: int


class _File(_Version):
    """All of them."""

    agents: dict[str, _Entry]


@dataclass(slots=True)
class ScheduleLedger:
    """Reads and writes the file.

    Parameters
    ----------
    path
        Of it.
    """

    path: Path
    _newer: bool = False
    """Whether a newer agentd wrote it: it is left as it is."""

    def load(self) -> Mapping[str, Standing]:
        """Read how far schedules had come; nothing, if the file is missing or not to be used."""
        try:
            data = self.path.read_bytes()
            version = _Version.model_validate_json(data).v
            self._newer = version > VERSION
            if version != VERSION:
                by = ": a newer agentd wrote it, and it is left as it is" if self._newer else ""
                return self._forgotten(f"expected version {VERSION}, found {version}{by}")
            found = _File.model_validate_json(data)
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the start"
            return self._forgotten(f"{where}: {first['msg']}")
        except OSError as error:
            return self._forgotten(str(error))
        return {
            name: Standing(each.cron, each.zone, each.since, None, each.due, each.by_hand, each.restarted_at)
            for name, each in found.agents.items()
        }

    def _forgotten(self, reason: str) -> Mapping[str, Standing]:
        log.warning("schedules_forgotten", path=str(self.path), reason=reason, effect=_EFFECT)
        return {}

    def keep(self, standings: Mapping[str, Standing]) -> None:
        """Write them down before anything is launched by them: 0.1 ms, and rare."""
        if self._newer:
            return
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
        part = self.path.with_name(f".{self.path.name}.new")
        try:
            part.touch(mode=0o600)
            part.write_text(json.dumps({"v": VERSION, "agents": agents}))
            part.replace(self.path)
        except OSError as error:
            effect = "a later agentd may make a start again, or none that was missed"
            log.warning("schedules_not_kept", path=str(self.path), reason=error.strerror, effect=effect)
