"""A run of Gemini CLI that ends with its answer: the one session file that was begun since in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.turns.events import Ended, Outcome, TurnEvent
from agentd.turns.fields import text
from agentd.turns.gemini.session_file import Cancelled, Errored, Said, Session, Used
from agentd.turns.one_turn import only_one
from agentd.turns.reading import Reading

_MAIN = "main"
"""Kind of a conversation that is no subagent's."""
_LONGEST_PATH = 4096


@dataclass(slots=True)
class GeminiRecord:
    """The session file of one run."""

    home: Path
    """What holds Gemini CLI's folder."""
    workdir: str
    born: float
    """When its process began, in seconds since the epoch."""
    reading: Reading

    @property
    def place(self) -> Path:
        """Gemini CLI's folder."""
        return self.home / ".gemini"

    def seek(self) -> bool:
        """Nothing tells before its end."""
        return True

    def told(self) -> Iterator[TurnEvent]:
        """What the session file has."""
        files = (file for folder in self._folders() for file in self.reading.glob(folder, "chats", "session-*.jsonl"))
        path = only_one(files, self.born, self.reading, _is_main)
        return events_of(self.reading.lines(path)) if path is not None else iter(())

    def _folders(self) -> Iterator[Path]:
        for path in self.reading.glob(self.place / "tmp", "*", ".project_root"):
            try:
                root = self.reading.all(path, _LONGEST_PATH)
            except OSError:
                continue
            if root.decode("utf-8", "replace").strip() == self.workdir:
                yield path.parent


def _is_main(lines: Sequence[Mapping[str, object]]) -> bool:
    return any(text(line, "kind") == _MAIN for line in lines)


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
                case Cancelled():
                    end = Ended(Outcome.INTERRUPTED)
                case Errored(said, failure, ends) if ends:
                    end = Ended(Outcome.FAILED, None, failure, said)
                case _:
                    pass
    if end is not None:
        yield end
