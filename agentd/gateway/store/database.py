"""The database: opened, read, and written one transaction after the other.

Transactions that write never overlap, so the cursors of events ascend in the order in which they are committed: who
reads up to a cursor has missed nothing below it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from agentd.gateway.ids import go_on_after
from agentd.gateway.model.errors import DatabaseUnavailableError
from agentd.gateway.model.objects import Event
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.migrating import SchemaError, check, migrate
from agentd.gateway.store.newest import newest_ids
from agentd.gateway.store.sqlite import Sqlite
from agentd.model.gateway import DATABASES, POSTGRESQL, SQLITE

if TYPE_CHECKING:
    from agentd.gateway.store.postgresql import PostgreSQL

_T = TypeVar("_T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PATIENCE: Final = 30.0
"""Seconds after which a database that does not answer is given up; SQLite waits 10 for another process."""
_END_PATIENCE: Final = 5.0

_SQLITE: Final = "sqlite"
_DRIVERS: Final = {SQLITE: _SQLITE, POSTGRESQL: "postgresql+asyncpg"}
"""As SQLAlchemy names them."""


class DatabaseError(Exception):
    """A database cannot be used; the text says why, and what to do."""


@dataclass(slots=True)
class Writer:
    """A transaction that writes. What is done in it waits for nothing but its connection."""

    connection: Connection
    events: list[tuple[Event, str | None]] = field(default_factory=list)
    """Those that it stored, and the owners of their sessions: told to followers once it is committed."""


class Database:
    """An open database.

    Parameters
    ----------
    name
        For messages.
    """

    def __init__(self, name: str, backend: Sqlite | PostgreSQL) -> None:
        self.name = name
        self._backend = backend
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self.trouble: str | None = None
        """Why it cannot be used, as `keep` last found."""
        self.committed: Callable[[list[tuple[Event, str | None]]], None] = lambda _: None
        """Called after each commit with the events that it stored, in the order of the commits. The engine sets
        it, which is made with an open database; to migrate a database it is opened without one."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Give a connection for reading; every statement sees what is committed then.

        Raises
        ------
        DatabaseUnavailableError
            If the database fails.
        """
        with self._failing():
            async with asyncio.timeout(PATIENCE), self._backend.read() as connection:
                yield connection

    async def write(self, work: Callable[[Writer], Coroutine[object, object, _T]], *, lasting: bool = True) -> _T:
        """Do something in one transaction, which is committed when it returns, and rolled back if it raises.

        A caller that is cancelled leaves: the transaction goes on to its end.

        Parameters
        ----------
        work
            May run in another thread.
        lasting
            Whether a power cut must not undo it; the end of the process never does.

        Raises
        ------
        DatabaseUnavailableError
            If the database fails, and nothing was done; or if it does not answer, as a disk that hangs, and the text
            says whether it may be done later.
        """
        begun = asyncio.Event()

        async def transact() -> _T:
            async with self._turn:
                begun.set()
                stored: list[tuple[Event, str | None]] = []
                with self._failing():
                    result = await self._backend.write(
                        lambda connection: work(Writer(connection, stored)), lasting=lasting
                    )
                if stored:
                    self.committed(stored)
                return result

        task = asyncio.create_task(transact())
        self._tasks.add(task)
        task.add_done_callback(self._over)
        await asyncio.wait([task], timeout=PATIENCE)
        if task.done():
            return task.result()
        if not begun.is_set():
            task.cancel()
        later = "it may be done later" if begun.is_set() else "nothing was done"
        raise DatabaseUnavailableError(f"{self.name}: no answer for {PATIENCE:g} s; {later}")

    async def keep(self) -> None:
        """See to it that what is written lasts: a file that was deleted is put back; `trouble` says why it does not."""
        try:
            with self._failing():
                async with asyncio.timeout(PATIENCE):
                    await self._backend.keep()
        except DatabaseUnavailableError as error:
            if self.trouble is None:
                log.error("database_unavailable", reason=str(error))
            self.trouble = str(error)
        else:
            if self.trouble is not None:
                log.info("database_available", database=self.name)
            self.trouble = None

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise DatabaseUnavailableError(f"{self.name}: no answer for {PATIENCE:g} s") from None
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseUnavailableError(f"{self.name}: {_reason(error)}") from error

    def _over(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waited may have left.
            task.exception()

    async def close(self) -> None:
        """Close it, once what is being written is; one that does not answer is left as it is."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_PATIENCE)
        try:
            async with asyncio.timeout(_END_PATIENCE):
                await self._backend.close()
        except TimeoutError:
            log.warning("database_not_closed", database=self.name, seconds=_END_PATIENCE)


def sqlite_url(file: Path) -> str:
    """Give the URL of a database in a file."""
    return URL.create(_SQLITE, database=str(file)).render_as_string()


async def open_database(address: str, *, with_migrations: bool = True, named_by: str = "--database") -> Database:
    """Open a database.

    Parameters
    ----------
    address
        URL: ``sqlite:///FILE`` or ``postgresql://…``, with or without the drivers' names.
    with_migrations
        Whether it is brought to the newest schema; else it must have it.
    named_by
        The flag or field that gives the address, for errors.

    Raises
    ------
    DatabaseError
        If it cannot be used.
    """
    url = _known(address, named_by)
    name = url.render_as_string(hide_password=True)
    try:
        backend = await asyncio.to_thread(_backend, url)
    except OSError as error:
        raise DatabaseError(f"{name}: cannot be opened: {error.strerror}; check {named_by}") from error
    database = Database(name, backend)
    try:
        await backend.prepare(migrate if with_migrations else check)
        async with backend.read() as connection:
            go_on_after(await newest_ids(connection))
    except SchemaError as error:
        await database.close()
        raise DatabaseError(f"{name}: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        await database.close()
        raise DatabaseError(f"{name}: cannot be opened: {_reason(error)}; check {named_by}") from error
    return database


def _backend(url: URL) -> Sqlite | PostgreSQL:
    if url.drivername == _SQLITE:
        return Sqlite(url)
    from agentd.gateway.store.postgresql import PostgreSQL  # noqa: PLC0415 (6 MB, and not needed for SQLite)

    return PostgreSQL(url)


def _reason(error: SQLAlchemyError | OSError) -> object:
    # SQLAlchemy's own text repeats the statement and its values.
    return error.orig if isinstance(error, DBAPIError) else error


def _known(address: str, named_by: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError:
        # The text may hold a password.
        raise DatabaseError(f"{named_by}: expected a URL, sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    kind = DATABASES.get(url.drivername)
    if kind is None:
        raise DatabaseError(f"{named_by}: found {url.drivername}, expected sqlite or postgresql")
    if kind == SQLITE and not url.database:
        raise DatabaseError(f"{named_by}: expected the path of a file after sqlite:///")
    return url.set(drivername=_DRIVERS[kind])
