"""What came by the triggers of agents, kept over restarts of agentd in a file of the state directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, Field

from agentd.files.kept_file import KeptFile
from agentd.files.versioned_file import Format, UnusableError
from agentd.model.triggers import Delivery
from agentd.supervise.trigger_queue import Kept, SeenFiles
from agentd.supervise.triggering import Standing

log = structlog.get_logger(__name__)

FILE: Final = "triggers.json"
"""Name in the state directory."""

VERSION: Final = 1

_EFFECT: Final = "what came by triggers and had no run yet is forgotten; files that are there count as seen"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Delivery(_Strict):
    id: str
    trigger: str
    values: dict[str, str]
    at: float = Field(ge=0, le=2**40)


class _Entry(_Strict):
    """One agent's."""

    since: float = Field(ge=0, le=2**40)
    waiting: list[_Delivery] = Field(default_factory=list)
    current: _Delivery | None = None
    done: list[str] = Field(default_factory=list)
    by_hand: bool = False
    restarted_at: str | None = None


class _Seen(_Strict):
    """What one trigger has seen."""

    folder: int
    names: list[str]


class _File(_Strict):
    agents: dict[str, _Entry]
    seen: dict[str, _Seen] = Field(default_factory=dict)


class TriggerLedger:
    """Reads and writes the file.

    Parameters
    ----------
    path
        Of it.
    """

    def __init__(self, path: Path) -> None:
        self._file = KeptFile(path, Format(VERSION, _File.model_validate), self._not_kept)

    @property
    def written(self) -> bool:
        """Whether the next agentd finds there what was kept last."""
        return self._file.written

    def load(self) -> Kept:
        """Read what came; nothing, if the file is missing or not to be used."""
        try:
            found = self._file.read()
        except UnusableError as error:
            return self._forgotten(str(error))
        if found is None:
            return Kept()
        try:
            seen = {key: _seen(each) for key, each in found.seen.items()}
        except ValueError as error:
            return self._forgotten(f"seen: {error}")
        return Kept({name: _standing(each) for name, each in found.agents.items()}, seen)

    def _forgotten(self, reason: str) -> Kept:
        log.warning("triggers_forgotten", path=str(self._file.path), reason=reason, effect=_EFFECT)
        return Kept()

    def keep(self, kept: Kept) -> None:
        """Write it down before anything is launched by it: 0.1 ms, and rare."""
        agents = {name: _entry(each) for name, each in kept.standings.items()}
        seen = {key: _looked(each) for key, each in kept.seen.items()}
        self._file.keep({"agents": agents, "seen": seen})

    def _not_kept(self, reason: str) -> None:
        effect = "until it can be, a later agentd may run what came a second time, or not at all"
        log.warning("triggers_not_kept", path=str(self._file.path), reason=reason, effect=effect)


def _written_name(name: str) -> str:
    """Write the name of a file, which may be no text."""
    return name.encode("unicode_escape").decode("ascii")


def _read_name(written: str) -> str:
    return written.encode("ascii").decode("unicode_escape")


def _seen(entry: _Seen) -> SeenFiles:
    return SeenFiles(entry.folder, frozenset(map(_read_name, entry.names)))


def _looked(seen: SeenFiles) -> Mapping[str, object]:
    return {"folder": seen.folder, "names": sorted(map(_written_name, seen.names))}


def _standing(entry: _Entry) -> Standing:
    return Standing(
        entry.since,
        tuple(map(_delivery, entry.waiting)),
        None if entry.current is None else _delivery(entry.current),
        tuple(entry.done),
        entry.by_hand,
        entry.restarted_at,
    )


def _delivery(entry: _Delivery) -> Delivery:
    return Delivery(entry.id, entry.trigger, entry.values, entry.at)


def _entry(standing: Standing) -> Mapping[str, object]:
    current = standing.current
    return _Entry(
        since=standing.since,
        waiting=[_written(each) for each in standing.waiting],
        current=None if current is None else _written(current),
        done=list(standing.done),
        by_hand=standing.by_hand,
        restarted_at=standing.restarted_at,
    ).model_dump(exclude_defaults=True)


def _written(delivery: Delivery) -> _Delivery:
    return _Delivery(id=delivery.id, trigger=delivery.trigger, values=dict(delivery.values), at=delivery.at)
