"""The Controller's state, in a SQLite file: what it has to know when it comes back.

Where each agent may run is written down before its host is told, and taken back only when nothing of it can run there
any more. So what stands here is never less than what is true.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agentd.files import database_format
from agentd.files.locks import lock_file
from agentd.model.placement import Labels

VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE fleet (
    epoch INTEGER NOT NULL, revision INTEGER NOT NULL, jcard TEXT, path TEXT, applied_at REAL
);
CREATE TABLE hosts (
    name TEXT PRIMARY KEY, slots INTEGER NOT NULL, cpus REAL NOT NULL, memory INTEGER NOT NULL, gpus REAL NOT NULL,
    labels TEXT NOT NULL, draining INTEGER NOT NULL, address TEXT, watched INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE runs (
    agent TEXT PRIMARY KEY, host TEXT NOT NULL, leased INTEGER NOT NULL, grace REAL NOT NULL, leaving INTEGER NOT NULL,
    lease REAL NOT NULL
);
INSERT INTO fleet VALUES (0, 0, NULL, NULL, NULL);
"""


class LedgerError(Exception):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class HostRecord:
    """What is known of a host."""

    name: str
    slots: int
    cpus: float = 0.0
    memory: int = 0
    gpus: float = 0.0
    labels: Labels = ()
    draining: bool = False
    address: str | None = None
    watched: bool = True
    """Whether its agentd answered when the host was heard last: only that ends what has a lease."""


@dataclass(frozen=True, slots=True)
class Run:
    """An agent may run on a host."""

    agent: str
    host: str
    leased: bool
    """Whether it ends there by itself once the host is cut off; false if that is not certain."""
    grace: float
    """The longest grace period, in seconds, that it was given there."""
    leaving: bool = False
    """It is to stop there."""
    lease: float = 0.0
    """The longest lease, in seconds, that it was given there: a Controller may be started with another one."""


@dataclass(frozen=True)
class Book:
    """All of the state."""

    epoch: int = 0
    """Counts the Controllers."""
    revision: int = 0
    """Counts the jcards."""
    jcard: str | None = None
    path: str | None = None
    applied_at: float | None = None
    """By the wall clock; only people read it."""
    hosts: dict[str, HostRecord] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)


class Ledger:
    """The file; only one process has it open.

    Raises
    ------
    LedgerError
        If it cannot be opened, is another Controller's, or is of a newer agentd.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = lock_file(path.with_name(path.name + ".lock"))
            if lock is None:
                raise LedgerError(f"{path}: another Controller has it open; end that one first")
            self._lock = lock
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{path}: cannot be used as the fleet's ledger: {error}") from error

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            database_format.check(self._connection, VERSION)
            if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'fleet'").fetchone():
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
            elif not self._connection.execute(
                "SELECT 1 FROM pragma_table_info('hosts') WHERE name = 'watched'"
            ).fetchone():
                # Of format 1.
                self._connection.execute("ALTER TABLE hosts ADD COLUMN watched INTEGER NOT NULL DEFAULT 1")
            database_format.stamp(self._connection, VERSION)

    def begin(self) -> Book:
        """Read everything, as one more Controller."""
        with self._transaction():
            self._connection.execute("UPDATE fleet SET epoch = epoch + 1")
            epoch, revision, jcard, path, applied_at = self._connection.execute("SELECT * FROM fleet").fetchone()
            hosts = [
                HostRecord(name, slots, cpus, memory, gpus, _labels(labels), bool(draining), address, bool(watched))
                for name, slots, cpus, memory, gpus, labels, draining, address, watched in self._connection.execute(
                    "SELECT * FROM hosts"
                )
            ]
            runs = [
                Run(agent, host, bool(leased), grace, bool(leaving), lease)
                for agent, host, leased, grace, leaving, lease in self._connection.execute("SELECT * FROM runs")
            ]
        return Book(
            epoch,
            revision,
            jcard,
            path,
            applied_at,
            {each.name: each for each in hosts},
            {each.agent: each for each in runs},
        )

    def write(self, before: Book, after: Book) -> None:
        """Write down what has changed, all of it or nothing.

        Raises
        ------
        LedgerError
            If the disk refuses: then nothing may be done that `after` allows.
        """
        try:
            with self._transaction():
                self._write(before, after)
        except sqlite3.Error as error:
            raise LedgerError(f"{self._path}: cannot be written: {error}") from error

    def _write(self, before: Book, after: Book) -> None:
        execute = self._connection.execute
        if replace(before, hosts={}, runs={}) != replace(after, hosts={}, runs={}):
            values = (after.revision, after.jcard, after.path, after.applied_at)
            execute("UPDATE fleet SET revision = ?, jcard = ?, path = ?, applied_at = ?", values)
        for name in before.hosts.keys() - after.hosts.keys():
            execute("DELETE FROM hosts WHERE name = ?", (name,))
        for host in after.hosts.values():
            if before.hosts.get(host.name) != host:
                execute(
                    "INSERT OR REPLACE INTO hosts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(host.name, host.slots, host.cpus, host.memory, host.gpus),
                        *(json.dumps(host.labels), host.draining, host.address, host.watched),
                    ),
                )
        for agent in before.runs.keys() - after.runs.keys():
            execute("DELETE FROM runs WHERE agent = ?", (agent,))
        for run in after.runs.values():
            if before.runs.get(run.agent) != run:
                execute(
                    "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)",
                    (run.agent, run.host, run.leased, run.grace, run.leaving, run.lease),
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Let another Controller have it."""
        with closing(self._connection):
            pass
        os.close(self._lock)


def _labels(text: str) -> Labels:
    return tuple((str(name), str(value)) for name, value in json.loads(text))
