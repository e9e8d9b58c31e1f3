"""The journal's database: SQLite in WAL mode. Everything here blocks and runs in a thread.

A commit survives SIGKILL; `JournalDatabase.sync` has it survive a power failure, and holds up no commit meanwhile.
Each reader opens a connection of its own, so nobody waits for another.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from agentd.files.database_format import check, stamp
from agentd.model.events import EventKind
from agentd.recording.journal.entry import Entry, EventFilter

log = structlog.get_logger(__name__)

FORMAT = 1
"""Of the file; tests/upgrades has one of each."""

TOTAL_BYTES = 64 * 1024 * 1024
"""Kept altogether: some 250 000 events."""

_REMOVED_AT_ONCE = 64
"""Events; some four pages."""

_RECENT = 4096
"""Events that are searched for runs whose end a killed daemon told: 20 ms, and more than 1000 agents cause at once."""

_OLD_FILE_HOLDS = 50_000
"""More events than one file of the former format held; it is named by the number of its first event."""

_BUSY = 2.0
"""Seconds to wait for somebody else who holds a lock, such as a person with the sqlite3 shell."""

_SCHEMA = """
BEGIN;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,  -- milliseconds since the epoch
    agent TEXT,
    kind TEXT NOT NULL,
    event TEXT NOT NULL     -- all of it, as JSON
);
CREATE INDEX events_by_time ON events (time);
COMMIT;
"""
_INSERT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, CAST(? AS TEXT))"
_REMOVE_OLDEST = "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?)"
_WANTED = """SELECT seq, time, agent, kind, event FROM events
    WHERE seq > :after AND seq <= :newest
    AND (:agents IS NULL OR lower(agent) IN (SELECT value FROM json_each(:agents)))
    AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
    AND json_valid(event)
    ORDER BY seq """
_NO_LATER = 2**62


class JournalError(Exception):
    """Why the journal cannot be read or written: where, and what SQLite or the system says."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a former daemon left."""

    last: int
    """Number of its last event."""
    clean: bool
    """Whether it ended in order, so that this certainly was the last number that it gave away."""
    ended: frozenset[str] = frozenset()
    """Runs whose end was told not long before an end that was not in order."""


class JournalDatabase:
    """Keeps events in ``events.db`` of a folder; every method raises `JournalError` where it cannot do its work.

    Parameters
    ----------
    folder
        Made when it is missing, for its owner alone.
    total_bytes
        What may be kept; the oldest events go first.
    """

    def __init__(self, folder: Path, total_bytes: int = TOTAL_BYTES) -> None:
        self.path = folder / "events.db"
        self.oldest = 0
        """Number of the first event that is kept, 0 without any."""
        self.bytes = 0
        """What is kept on disk."""
        self._wal = folder / "events.db-wal"
        self._total_bytes = total_bytes
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._lock = threading.Lock()
        """Held while the connection is used: a thread that was given up may still wait for the disk."""

    # -- writing

    def find(self) -> Found:
        """Look at what there is; a damaged database is set aside."""
        with self._lock, self._explained():
            # What comes after the number that the files of the former format end with, at the latest.
            old = [
                int(path.stem) + _OLD_FILE_HOLDS for path in self.path.parent.glob("*.jsonl") if path.stem.isdecimal()
            ]
            nothing = Found(max(old, default=0), clean=True)
            # No number that was given away is as high, at fewer than 1000 events a second since 1970.
            unknown = Found(int(time.time() * 1000), clean=False)
            try:
                with self._reading() as connection:
                    self._measure(connection)
                    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal" and self._wal.exists():
                        return unknown
                    return _found(connection) if self.oldest else nothing
            except FileNotFoundError:
                return nothing
            except sqlite3.DatabaseError as error:
                self._set_aside_if_damaged(error)
                return unknown

    def append(self, entries: Sequence[Entry]) -> None:
        """Write events, all or none; into a new database if this one is damaged."""
        with self._lock, self._explained():
            try:
                self._insert(entries)
            except sqlite3.DatabaseError as error:
                self._set_aside_if_damaged(error)
                self._insert(entries)

    def _insert(self, entries: Sequence[Entry]) -> None:
        connection = self._opened()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                _INSERT, [(each.seq, each.time, each.agent, each.kind, each.body) for each in entries]
            )
            while _used(connection) > self._total_bytes:
                connection.execute(_REMOVE_OLDEST, (_REMOVED_AT_ONCE,))
        self._measure(connection)

    def _measure(self, connection: sqlite3.Connection) -> None:
        self.oldest = connection.execute("SELECT min(seq) FROM events").fetchone()[0] or 0
        self.bytes = sum(path.stat().st_size for path in (self.path, self._wal) if path.exists())

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._stands():
                return self._connection
            # Somebody removed, moved or replaced the files.
            self._close()
        if not self.path.exists():
            self._create()
        self._connection = connection = _connect(self.path, "mode=rw")
        try:
            check(connection, FORMAT)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._file = self.path.stat()
        except BaseException:
            self._close()
            raise
        return connection

    def _create(self) -> None:
        """Make an empty database, whole from the first moment on."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        new = self.path.with_name("new.db")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with contextlib.closing(_connect(new, "mode=rw")) as connection:
            connection.executescript(_SCHEMA)
            stamp(connection, FORMAT)
        new.replace(self.path)

    def _stands(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(self._file, self.path.lstat()) and self._wal.exists()
        except OSError:
            return False

    def _set_aside_if_damaged(self, error: sqlite3.DatabaseError) -> None:
        """Rename a damaged database, so that a new one is begun; what was set aside before is replaced."""
        # A file that was cut off to nothing is an empty database without our table.
        if not _is(error, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            raise error
        self._close()
        aside = self.path.with_name("damaged.db")
        log.error("journal_damaged", path=str(self.path), reason=str(error), kept_as=str(aside))
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{aside}{suffix}")
        Path(f"{self.path}-shm").unlink(missing_ok=True)

    def sync(self) -> None:
        """Have everything that is written survive a power failure."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close the database; everything that is written then survives a power failure."""
        with self._lock, self._explained():
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- reading

    def read(self, after: int, wanted: EventFilter, count: int) -> list[Entry]:
        """Read the wanted events after a number, at most `count` of them."""
        rows = self._rows(_WANTED + "LIMIT :count", wanted, after=after, count=count)
        return [Entry(seq, time, agent, kind, event.encode()) for seq, time, agent, kind, event in rows]

    def number_before_last(self, count: int, wanted: EventFilter, newest: int) -> int:
        """Give the number before the last ``count`` wanted events up to the number ``newest``; 0 if there are fewer."""
        rows = self._rows(_WANTED + "DESC LIMIT 1 OFFSET :passed", wanted, newest=newest, passed=count - 1)
        return rows[0][0] - 1 if rows else 0

    def number_before_time(self, milliseconds: int) -> int | None:
        """Give the number before the first event from a time on, in ms since the epoch; ``None`` if there is none."""
        rows = self._rows("SELECT seq FROM events WHERE time >= :time ORDER BY time, seq LIMIT 1", time=milliseconds)
        return rows[0][0] - 1 if rows else None

    def _rows(
        self, query: str, wanted: EventFilter | None = None, **values: int
    ) -> list[tuple[int, int, str | None, str, str]]:
        parameters: dict[str, int | str | None] = {"after": -1, "newest": _NO_LATER, **values}
        if wanted is not None:
            parameters["agents"] = json.dumps(sorted(wanted.agents)) if wanted.agents else None
            parameters["kinds"] = json.dumps(sorted(wanted.kinds)) if wanted.kinds else None
        with self._explained():
            try:
                with self._reading() as connection:
                    return connection.execute(query, parameters).fetchall()
            except FileNotFoundError:
                return []

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Open the database to read it, also on a disk that cannot be written."""
        self.path.stat()
        try:
            connection = _connect(self.path, "mode=rw")
        except sqlite3.OperationalError as error:
            if not _is(error, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            # Without the write-ahead log, if one is left: the last seconds of a daemon that was killed.
            connection = _connect(self.path, "mode=ro&immutable=1")
        with contextlib.closing(connection):
            check(connection, FORMAT)
            yield connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalError(f"{error.filename or self.path}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}") from error


def _connect(path: Path, options: str) -> sqlite3.Connection:
    address = f"file:{quote(os.fsencode(path))}?{options}"
    connection = sqlite3.connect(address, timeout=_BUSY, isolation_level=None, check_same_thread=False, uri=True)
    # What somebody else wrote need not be UTF-8.
    connection.text_factory = lambda value: value.decode("utf-8", "replace")
    try:
        # KiB; by default it grows to 2 MB. This also finds out whether it can be read.
        connection.execute("PRAGMA cache_size=-256")
    except BaseException:
        connection.close()
        raise
    return connection


def _is(error: sqlite3.Error, *codes: int) -> bool:
    # What Python itself finds wrong has no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something; the others are used again."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _found(connection: sqlite3.Connection) -> Found:
    recent = connection.execute("SELECT seq, kind, event FROM events ORDER BY seq DESC LIMIT ?", (_RECENT,)).fetchall()
    last, kind, _ = recent[0]
    if kind == EventKind.DAEMON_STOPPED:
        return Found(last, clean=True)
    return Found(last, False, frozenset(_run_of(event) for _, kind, event in recent if kind == EventKind.EXITED))


def _run_of(event: str) -> str:
    """The run that an event is about; none where somebody else wrote it."""
    try:
        return str(json.loads(event)["data"]["run"])
    except (ValueError, LookupError, TypeError):
        return ""
