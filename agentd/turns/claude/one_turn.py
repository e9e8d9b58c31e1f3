"""A run of Claude Code that ends with its answer: its session file, as its status file names it while it lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.process.identity import ProcessIdentity
from agentd.turns.adapter import Ground, LiveRun
from agentd.turns.claude import status_file
from agentd.turns.claude.folder import config_of
from agentd.turns.claude.hooks import FAILURES
from agentd.turns.claude.session_file import Errored, Interrupted, Said, Session, Used, session_path
from agentd.turns.events import Ended, Failure, Outcome, TurnEvent
from agentd.turns.fields import text
from agentd.turns.one_turn import only_one
from agentd.turns.reading import Reading

_ENTRY = "sdk-cli"
"""How Claude Code calls a run with ``-p``."""


@dataclass(slots=True)
class ClaudeRecord:
    """The session file of one run."""

    config: Path
    """Claude Code's folder."""
    workdir: str
    process: ProcessIdentity
    born: float
    """When it began, in seconds since the epoch."""
    reading: Reading
    _path: Path | None = None

    @classmethod
    def of(cls, run: LiveRun, ground: Ground) -> ClaudeRecord:
        """Of a run that is watched."""
        born = ground.wall() - run.process.age()
        return cls(config_of(run), str(run.facts.workdir), run.process, born, Reading.of(run, ground))

    @property
    def place(self) -> Path:
        """Claude Code's folder."""
        return self.config

    def seek(self) -> bool:
        """Read the status file."""
        data = self.reading.all(self.config / "sessions" / f"{self.process.pid}.json", status_file.LONGEST)
        status = status_file.parse(data, self.process, self.born)
        if status is not None and status.session is not None:
            self._path = session_path(self.config, self.workdir, status.session)
        return self._path is not None

    def told(self) -> Iterator[TurnEvent]:
        """What the session file has."""
        path = self._path or self._only_one()
        return events_of(self.reading.lines(path)) if path is not None else iter(())

    def _only_one(self) -> Path | None:
        # Too short a run to be seen: its status file is gone.
        folder = session_path(self.config, self.workdir, "x").parent
        return only_one(self.reading.glob(folder, "*.jsonl"), self.born, self.reading, _is_of_one_turn)


def _is_of_one_turn(lines: Sequence[Mapping[str, object]]) -> bool:
    return any(text(line, "entrypoint") == _ENTRY for line in lines)


def events_of(lines: Sequence[bytes]) -> Iterator[TurnEvent]:
    """What a session file has of its one turn. Pure."""
    session, end = Session(), None
    for line in lines:
        for recorded in session.read(line):
            match recorded:
                case Used(usage):
                    yield usage
                case Said(said, final):
                    end = Ended(Outcome.COMPLETED, said) if final else None
                case Interrupted():
                    end = Ended(Outcome.INTERRUPTED)
                case Errored(error, said):
                    end = Ended(Outcome.FAILED, None, FAILURES.get(error, Failure.OTHER), said or error or None)
                case _:
                    pass
    if end is not None:
        yield end
