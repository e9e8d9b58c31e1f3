"""The database: opened, read, and written one transaction after the other.

Transactions that write never overlap, so the cursors of events ascend in the order in which they are committed: who
reads up to a cursor has missed nothing below it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from agentd.gateway.model.errors import DatabaseUnavailableError
from agentd.gateway.model.objects import Event
from agentd.gateway.store.migrating import SchemaError, check, migrate

_T = TypeVar("_T")

Connection: TypeAlias = AsyncConnection
"""A connection to read from."""

_SQLITE: Final = "sqlite+aiosqlite"
_POSTGRESQL: Final = "postgresql+asyncpg"

_READERS: Final = 4

_BUSY_SECONDS: Final = 10
"""How long SQLite waits for another process, such as one that makes a backup."""

_WRITERS_LOCK: Final = 0x6167656E7464
"""PostgreSQL's advisory lock that makes writers wait for each other ("agentd")."""


class _DriverCursor(Protocol):
    def execute(self, statement: str) -> object: ...
    def close(self) -> None: ...


class _DriverConnection(Protocol):
    isolation_level: str | None

    def cursor(self) -> _DriverCursor: ...


class DatabaseError(Exception):
    """A database cannot be used; the text says why, and what to do."""


@dataclass(slots=True)
class Writer:
    """A transaction that writes."""

    connection: AsyncConnection
    events: list[tuple[Event, str | None]] = field(default_factory=list)
    """Those that it stored, and the owners of their sessions: told to followers once it is committed."""


class Database:
    """An open database.

    Parameters
    ----------
    writing, reading
        SQLAlchemy's engines; of SQLite two, since one connection alone writes.
    """

    def __init__(self, url: URL, writing: AsyncEngine, reading: AsyncEngine) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._sqlite = url.drivername == _SQLITE
        self._writing = writing
        self._reading = reading
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self.committed: Callable[[list[tuple[Event, str | None]]], None] = lambda _: None
        """Called after each commit with the events that it stored, in the order of the commits."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for reading; every statement sees what is committed then."""
        with self._failing():
            async with self._reading.connect() as connection:
                yield connection

    async def write(self, work: Callable[[Writer], Awaitable[_T]]) -> _T:
        """Do something in one transaction, which is committed when it returns, and rolled back if it raises.

        A caller that is cancelled leaves: the transaction goes on to its end.

        Raises
        ------
        DatabaseUnavailableError
            If the database fails; nothing was done then.
        """

        async def transact() -> _T:
            async with self._turn:
                with self._failing():
                    async with self._writing.begin() as connection:
                        writer = Writer(connection)
                        if not self._sqlite:
                            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"))
                        result = await work(writer)
                if writer.events:
                    self.committed(writer.events)
                return result

        return await self._to_its_end(transact())

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise DatabaseUnavailableError(f"{self.name}: {reason}") from error

    async def _to_its_end(self, work: Coroutine[object, object, _T]) -> _T:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Close it, once what is being written is."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._writing.dispose()
        await self._reading.dispose()


def sqlite_url(file: Path) -> str:
    """Give the URL of a database in a file."""
    return URL.create(_SQLITE, database=str(file)).render_as_string()


async def open_database(address: str, *, with_migrations: bool = True) -> Database:
    """Open a database.

    Parameters
    ----------
    address
        URL: ``sqlite:///FILE`` or ``postgresql://…``, with or without the drivers' names.
    with_migrations
        Whether it is brought to the newest schema; else it must have it.

    Raises
    ------
    DatabaseError
        If it cannot be used.
    """
    url = _known(address)
    writing, reading = await asyncio.to_thread(_engines, url)
    database = Database(url, writing, reading)
    try:
        async with writing.begin() as connection:
            if url.drivername == _POSTGRESQL:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"))
            await (migrate if with_migrations else check)(connection)
    except SchemaError as error:
        await database.close()
        raise DatabaseError(f"{database.name}: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        await database.close()
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise DatabaseError(f"{database.name}: cannot be opened: {reason}; check --database") from error
    return database


def _known(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError:
        # The text may hold a password.
        raise DatabaseError("--database: expected a URL, sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    drivers = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "postgres": _POSTGRESQL}
    driver = drivers.get(url.drivername, url.drivername)
    if driver not in drivers.values():
        raise DatabaseError(f"--database: found {url.drivername}, expected sqlite or postgresql")
    if driver == _SQLITE and not url.database:
        raise DatabaseError("--database: expected the path of a file after sqlite:///")
    return url.set(drivername=driver)


def _engines(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    if url.drivername == _POSTGRESQL:
        engine = create_async_engine(url, pool_size=_READERS + 1, pool_pre_ping=True)
        return engine, engine
    assert url.database is not None
    try:
        # What people say to their agents is nobody else's business.
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseError(f"{url.database}: cannot be opened: {error.strerror}; check --database") from error
    arguments = {"timeout": _BUSY_SECONDS}
    writing = create_async_engine(url, pool_size=1, max_overflow=0, connect_args=arguments)
    reading = create_async_engine(
        url, pool_size=_READERS, max_overflow=0, connect_args=arguments, isolation_level="AUTOCOMMIT"
    )
    for engine in (writing, reading):
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(writing.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return writing, reading


def _prepare_sqlite(connection: _DriverConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it does not for every statement.
    connection.isolation_level = None
    cursor = connection.cursor()
    # A commit survives the end of the process with NORMAL, and a power cut only with FULL.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
