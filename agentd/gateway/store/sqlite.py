"""SQLite: a thread that writes, and some that read.

A transaction runs as a whole in its thread: with a driver for asyncio each statement went there and back four times,
which took most of a turn's time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import sqlalchemy
import structlog
from sqlalchemy import URL, CursorResult, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import Executable

from agentd.files.worker import Worker
from agentd.gateway.store.connection import Connection, Parameters
from agentd.gateway.store.open_file import OpenFile, ReplacedError

_T = TypeVar("_T")

log = structlog.get_logger(__name__)

_READERS: Final = 4

_READ_AT_ONCE: Final = 2 * _READERS
"""Results on their way: of 1000 requests that came at once, they took 14 MB."""

_BUSY_SECONDS: Final = 10
"""How long SQLite waits for another process, such as one that makes a backup."""


class _DriverCursor(Protocol):
    def execute(self, statement: str) -> object: ...
    def close(self) -> None: ...


class _DriverConnection(Protocol):
    isolation_level: str | None

    def cursor(self) -> _DriverCursor: ...


class Sqlite:
    """A database in a file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """

    def __init__(self, url: URL) -> None:
        assert url.database is not None
        self._file = OpenFile(Path(url.database))
        self._writer = Worker("database")
        self._readers = Worker("database-reading", _READERS)
        self._turns = asyncio.Semaphore(_READ_AT_ONCE)
        self._lasting = True
        plain = url.set(drivername="sqlite")
        self._writing = create_engine(plain, pool_size=1, max_overflow=0, creator=self._connect)
        self._reading = create_engine(
            plain, pool_size=_READERS, max_overflow=0, creator=self._connect, isolation_level="AUTOCOMMIT"
        )
        for engine in (self._writing, self._reading):
            event.listen(engine, "connect", _prepare)
        event.listen(self._writing, "begin", self._begin)

    def _connect(self) -> sqlite3.Connection:
        return self._file.connect(_BUSY_SECONDS)

    def _begin(self, connection: sqlalchemy.Connection) -> None:
        # A commit survives the end of the process with NORMAL; with FULL, which waits for the disk, a power cut too.
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if self._lasting else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def prepare(self, work: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Do something with SQLAlchemy's own connection, in a transaction."""

        def transact() -> _T:
            with self._writing.begin() as connection:
                return work(connection)

        return await self._writer.do(transact)

    async def write(self, work: Callable[[Connection], Coroutine[object, object, _T]], *, lasting: bool) -> _T:
        """Do something in a transaction; with `lasting`, a power cut does not undo it."""

        def transact() -> _T:
            self._see_to_file()
            self._lasting = lasting
            with self._writing.begin() as connection:
                return _complete(work(_Inline(connection)))

        return await self._writer.do(transact)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Give what reads: each statement sees what is committed then."""
        yield _InThread(self._file, self._reading, self._readers, self._turns)

    async def keep(self) -> None:
        """See to it that its file is at its path, also if nothing is written.

        Raises
        ------
        OSError
            If another one is, or it cannot be put back.
        """
        await self._writer.do(self._see_to_file)

    def _see_to_file(self) -> None:
        """Put the file back if it was deleted. A transaction that is then done is in a file that stays."""
        try:
            if self._file.check():
                return
        except ReplacedError as error:
            if not self._file.given_up:
                with self._raw() as connection:
                    self._file.give_up(connection, error)
            raise
        with self._raw() as connection:
            self._file.put_back(connection)
        # They have the file that is gone. One that reads right now is closed when it has read.
        self._writing.dispose()
        self._reading.dispose()
        # From now on one has the new file, also if that is deleted before anything is written.
        self._writing.connect().close()

    @contextmanager
    def _raw(self) -> Iterator[sqlite3.Connection]:
        """Give the driver's connection, which still has the file."""
        fairy = self._writing.raw_connection()
        try:
            connection = fairy.driver_connection
            assert isinstance(connection, sqlite3.Connection)
            yield connection
        finally:
            fairy.close()

    async def close(self) -> None:
        """Close it."""
        try:
            await self.keep()
        except (OSError, SQLAlchemyError) as error:
            log.error("database_not_kept", reason=str(error))
        await self._writer.do(self._writing.dispose)
        await self._readers.do(self._reading.dispose)
        self._writer.close()
        self._readers.close()


class _Inline:
    """Executes at once, in the thread that it is used in."""

    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        return self._connection.execute(statement, parameters)


class _InThread:
    """Executes each statement by itself in another thread."""

    def __init__(self, file: OpenFile, engine: Engine, worker: Worker, turns: asyncio.Semaphore) -> None:
        self._file = file
        self._engine = engine
        self._worker = worker
        self._turns = turns

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        def execute() -> Any:  # noqa: ANN401 (of SQLAlchemy's results, only some have a type)
            self._file.refuse_other()
            with self._engine.connect() as connection:
                return connection.execute(statement, parameters).freeze()

        async with self._turns:
            frozen = await self._worker.do(execute)
            result: CursorResult[Any] = frozen()
        return result


def _complete(work: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine that waits for nothing but `_Inline`."""
    try:
        work.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    work.close()
    raise RuntimeError("a transaction waited for something other than its database")


def _prepare(connection: _DriverConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it does not for every statement.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "foreign_keys=OFF", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
