"""What OpenCode keeps of its conversations: an SQLite database that all of one user's share, read without its server.

It is opened to be read alone. What SQLite puts beside it then (``-wal``, ``-shm``) belongs to the owner of the database
where we are root, too. Whoever may write it may have it say anything: questions have limits of time and size.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from agentd.turns.adapter import Ground, LiveRun
from agentd.turns.events import Ended, Started, TurnEvent, Usage
from agentd.turns.messages.message import CLOCKS, same_text
from agentd.turns.opencode import launch
from agentd.turns.opencode.events import Reader
from agentd.turns.opencode.messages import is_prompt, missed, prompt_of
from agentd.turns.reading import LONGEST, Reading

Message = Mapping[str, object]

_NAME: Final = "opencode.db"
_LIMIT: Final = 2.0
"""Seconds for all questions to one database."""
_STEPS: Final = 10_000
"""Instructions of SQLite's between two looks at the clock: 0.1 ms."""
_MOST_MESSAGES: Final = 2_000

_SESSIONS: Final = """
    SELECT id FROM session WHERE directory IN (?, ?) AND parent_id IS NULL AND time_created >= ? LIMIT 2
"""
_MESSAGES: Final = """
    SELECT id, data FROM message WHERE session_id = ? AND time_created >= ? ORDER BY time_created, id LIMIT ?
"""
_PARTS: Final = """
    SELECT message_id, id, data FROM part WHERE session_id = ? AND time_created >= ?
    AND json_valid(data) AND json_extract(data, '$.type') = 'text' ORDER BY id LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class OpenCodeRecord:
    """The conversations of a run's folder. Each call blocks, and raises `OSError` where they cannot be read."""

    database: Path
    workdir: str
    born: float
    """When the run's process began, in seconds since the epoch."""
    reading: Reading

    @property
    def place(self) -> Path:
        """OpenCode's folder."""
        return self.database.parent

    def seek(self) -> bool:
        """Nothing tells before its end."""
        return True

    def told(self) -> Iterator[TurnEvent]:
        """What the one conversation has that was begun in the folder since the process was."""
        since = self.born - CLOCKS
        with closing(self._open()) as database:
            there = (self.workdir, os.path.realpath(self.workdir))
            sessions = _asked(database, _SESSIONS, (*there, since * 1000))
            return events_of(_messages(database, sessions[0][0], since)) if len(sessions) == 1 else iter(())

    def prompted(self, text: str, since: float, session: str) -> Sequence[Message]:
        """The message with this text, made since then in a conversation, and what followed it; else nothing.

        Raises
        ------
        OSError
            Also if there is no such conversation: it is kept elsewhere.
        """
        with closing(self._open()) as database:
            if not _asked(database, "SELECT 1 FROM session WHERE id = ?", (session,)):
                raise OSError(f"{self.database} does not have the conversation {session}")
            said = _messages(database, session, since - CLOCKS)
        begins = (at for at, each in enumerate(said) if is_prompt(each, since) and same_text(text, prompt_of(each)))
        return said[next(begins, len(said)) :]

    def _open(self) -> sqlite3.Connection:
        with self.reading.opened(self.database):
            path = quote(str(self.database))
        try:
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_LIMIT / 4, check_same_thread=False)
        except sqlite3.Error as error:
            raise OSError(f"{self.database}: {error}") from error
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        end = time.monotonic() + _LIMIT
        database.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        return database


def _asked(database: sqlite3.Connection, question: str, values: Sequence[object]) -> list[tuple[object, ...]]:
    rows, size = list[tuple[object, ...]](), 0
    try:
        for row in database.execute(question, values):
            size += sum(len(each) for each in row if isinstance(each, str | bytes))
            if size > LONGEST:
                raise OSError(f"a conversation has over {LONGEST} bytes")
            rows.append(row)
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    return rows


def _messages(database: sqlite3.Connection, session: object, since: float) -> list[Message]:
    """The messages of a conversation as OpenCode's server lists them, with their texts alone."""
    asked = (session, since * 1000, _MOST_MESSAGES)
    parts: dict[object, list[Message]] = {}
    for message, part, data in _asked(database, _PARTS, asked):
        head = {"id": part, "messageID": message, "sessionID": session}
        parts.setdefault(message, []).append({**_object(data), **head})
    return [
        {"info": {**_object(data), "id": message, "sessionID": session}, "parts": parts.get(message, [])}
        for message, data in _asked(database, _MESSAGES, asked)
    ]


def _object(data: object) -> Message:
    try:
        found = json.loads(data) if isinstance(data, str) else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def events_of(said: Sequence[Message]) -> Iterator[TurnEvent]:
    """What a conversation has of its turns: usage, and how the last one ended, if it did. Pure."""
    reader, end = Reader(), None
    for event in missed(said, 0.0, None, lambda _: False, idle=True):
        for told in reader.read(event):
            match told:
                case Usage():
                    yield told
                case Started():
                    end = None
                case Ended():
                    end = told
                case _:
                    pass
    if end is not None:
        yield end


def record_of(run: LiveRun, ground: Ground) -> OpenCodeRecord:
    """The record of a run."""
    data = run.memo.get(launch.DATA)
    folder = (Path(data) if data else run.facts.home / ".local" / "share") / "opencode"
    born = ground.wall() - run.process.age()
    return OpenCodeRecord(folder / _NAME, str(run.facts.workdir), born, Reading.of(run, ground))
