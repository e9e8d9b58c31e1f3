"""Messages on disk: SQLite, since each change of one must be on disk at once, and a message may have a megabyte.

Everything here blocks, and is done by one thread, in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import structlog

from agentd.files.database_format import check
from agentd.turns.events import Outcome, Usage
from agentd.turns.messages.message import Message, Status

log = structlog.get_logger(__name__)

FILE: Final = "messages.db"
"""Name in the state directory."""

FORMAT: Final = 1
"""Of the file; tests/upgrades has one of each."""

KEPT_SECONDS: Final = 7 * 86400.0
KEPT_OF_ONE: Final = 1000
"""Messages of an agent that are kept, with those that are not over."""
_KEPT_BYTES: Final = 256 << 20
"""Of all agents' messages; the oldest of those that are over go first."""
_REMOVED_AT_ONCE: Final = 16

_BUSY: Final = 2.0
"""Seconds to wait for somebody else who holds a lock, such as a person with the sqlite3 shell."""

_SCHEMA: Final = """
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    agent TEXT NOT NULL,    -- in lower case
    id TEXT NOT NULL,
    over INTEGER NOT NULL,
    changed REAL NOT NULL,
    text TEXT NOT NULL,
    message TEXT NOT NULL,  -- all else, as JSON
    UNIQUE (agent, id)
);
CREATE INDEX messages_that_are_over ON messages (over, changed);
"""
_PUT: Final = """INSERT INTO messages (agent, id, over, changed, text, message) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (agent, id)
    DO UPDATE SET over = excluded.over, changed = excluded.changed, message = excluded.message"""


_NEWEST: Final = """SELECT id, substr(text, 1, :shown), length(text), json_set(message, '$.final_text', NULL)
FROM messages WHERE (:agent IS NULL OR agent = :agent)
AND CASE WHEN json_valid(message)
    THEN NOT :undelivered OR json_extract(message, '$.status') IN ('failed', 'expired') ELSE 0 END
ORDER BY seq DESC LIMIT :most"""
_SHOWN: Final = 200
"""Characters of each message in a list."""


class StoreError(Exception):
    """Messages cannot be kept or read; the text says why."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One message in a list."""

    message: Message
    """With the beginning of its text, and without the answer to it."""
    characters: int
    """Of the whole text."""


@dataclass(slots=True)
class Store:
    """Keeps messages in a file that its owner alone may read; each method raises `StoreError` where it cannot.

    Parameters
    ----------
    path
        Of the file.
    """

    path: Path
    _connection: sqlite3.Connection | None = field(default=None, repr=False)

    def live(self) -> list[Message]:
        """Those that something may still become of, the oldest first."""
        with self._explained():
            if not self.path.exists():
                return []
            rows = self._opened().execute("SELECT id, text, message FROM messages WHERE NOT over ORDER BY seq")
            return [message for row in rows if (message := _read(*row)) is not None]

    def find(self, agent: str, message: str) -> Message | None:
        """A message by its id."""
        with self._explained():
            if not self.path.exists():
                return None
            row = (
                self._opened()
                .execute("SELECT id, text, message FROM messages WHERE agent = ? AND id = ?", (agent.lower(), message))
                .fetchone()
            )
            return None if row is None else _read(*row)

    def newest(self, agent: str | None, most: int, *, undelivered: bool) -> list[Summary]:
        """The newest messages to an agent, or to all; with ``undelivered`` only those that were not delivered."""
        with self._explained():
            if not self.path.exists():
                return []
            of = None if agent is None else agent.lower()
            given = {"agent": of, "most": most, "shown": _SHOWN, "undelivered": undelivered}
            rows = self._opened().execute(_NEWEST, given).fetchall()
            read = [(_read(id_, text, written), length) for id_, text, length, written in rows]
            return [Summary(message, length) for message, length in read if message is not None]

    def put(self, *messages: Message) -> None:
        """Store messages, or changes to them, all or none."""
        with self._explained():
            try:
                self._put(messages)
            except sqlite3.DatabaseError as error:
                self._set_aside_if_damaged(error)
                self._put(messages)

    def _put(self, messages: Sequence[Message]) -> None:
        connection = self._opened()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for each in messages:
                connection.execute(
                    _PUT, (each.agent.lower(), each.id, each.over, each.changed, each.text, _written(each))
                )
                if each.status is Status.QUEUED:
                    self._forget_old(connection, each)

    @staticmethod
    def _forget_old(connection: sqlite3.Connection, message: Message) -> None:
        connection.execute("DELETE FROM messages WHERE over AND changed < ?", (message.changed - KEPT_SECONDS,))
        connection.execute(
            """DELETE FROM messages WHERE over AND agent = :agent AND seq NOT IN
            (SELECT seq FROM messages WHERE agent = :agent ORDER BY seq DESC LIMIT :kept)""",
            {"agent": message.agent.lower(), "kept": KEPT_OF_ONE},
        )
        while _used(connection) > _KEPT_BYTES:
            gone = connection.execute(
                "DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE over ORDER BY changed LIMIT ?)",
                (_REMOVED_AT_ONCE,),
            )
            if gone.rowcount < 1:
                return

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            check(connection, FORMAT)
            connection.execute("PRAGMA journal_mode=WAL")
            # A message that is being typed must stand here even after a power failure.
            connection.execute("PRAGMA synchronous=FULL")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages'").fetchone():
                connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={FORMAT};COMMIT;")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _set_aside_if_damaged(self, error: sqlite3.DatabaseError) -> None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise error
        self.close()
        aside = self.path.with_name(f"{self.path.stem}-damaged.db")
        log.error("messages_damaged", path=str(self.path), reason=str(error), kept_as=str(aside))
        self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"messages cannot be kept in {self.path}: {error}") from error


def _used(connection: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def _written(message: Message) -> str:
    document = {**message.view(), "usage": asdict(message.usage)}
    del document["text"], document["id"]
    return json.dumps(document)


def _read(id_: str, text: str, written: str) -> Message | None:
    """Read one; ``None`` if it was written by another version, and cannot be understood."""
    try:
        found = json.loads(written)
        outcome, usage = found["outcome"], found["usage"]
        return Message(
            agent=found["agent"],
            id=id_,
            text=text,
            accepted=found["accepted"],
            expires=found["expires"],
            sender=found.get("sender"),
            status=Status(found["status"]),
            changed=found["changed"],
            begun=found["begun"] or 0.0,
            run=found["run"],
            turn=found["turn"],
            witness=found.get("witness"),
            outcome=None if outcome is None else Outcome(outcome),
            final_text=found["final_text"],
            failure=found["failure"],
            error=found["error"],
            usage=Usage(**usage),
        )
    except (ValueError, KeyError, TypeError) as error:
        log.warning("message_not_understood", message=id_, reason=f"{type(error).__name__}: {error}")
        return None
