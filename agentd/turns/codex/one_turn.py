"""A run of Codex that ends with its answer: the rollout file that its process has open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agentd.turns.codex.open_files import folders, own_rollout
from agentd.turns.codex.rollout import Rollout, is_of_command
from agentd.turns.events import Ended, TurnEvent, Usage
from agentd.turns.fields import mapping, text
from agentd.turns.one_turn import only_one
from agentd.turns.reading import Reading


@dataclass(slots=True)
class CodexRecord:
    """The rollout file of one run."""

    sessions: Path
    workdir: str
    pid: int
    born: float
    """When its process began, in seconds since the epoch."""
    reading: Reading
    inside: Path | None = None
    """The same folder, as the program names it, if that is in a sandbox."""
    _path: Path | None = None

    @property
    def place(self) -> Path:
        """Codex's folder of conversations."""
        return self.sessions

    def seek(self) -> bool:
        """Look which file the process has open."""
        self._path = own_rollout(self.pid, self.sessions, self.inside or self.sessions, self.reading, is_of_command)[0]
        return self._path is not None

    def told(self) -> Iterator[TurnEvent]:
        """What the file has."""
        path = self._path or self._only_one()
        return events_of(self.reading.lines(path)) if path is not None else iter(())

    def _only_one(self) -> Path | None:
        # Too short a run to be seen.
        day = folders(self.sessions, datetime.fromtimestamp(self.born).astimezone().date())[-1]
        return only_one(self.reading.glob(day, "rollout-*.jsonl"), self.born, self.reading, self._is_own)

    def _is_own(self, lines: Sequence[Mapping[str, object]]) -> bool:
        meta = mapping(lines[0], "payload") if lines else {}
        return text(meta, "source") == "exec" and text(meta, "cwd") == self.workdir


def events_of(lines: Sequence[bytes]) -> Iterator[TurnEvent]:
    """What a rollout file has of its one turn. Pure."""
    rollout = Rollout()
    for line in lines:
        told = rollout.read(line)
        for event in () if told is None else told.events:
            if isinstance(event, Usage | Ended):
                yield event
