"""PostgreSQL, by asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import URL, CursorResult, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.sql import Executable

from agentd.gateway.store.connection import Connection, Parameters

_T = TypeVar("_T")

_CONNECTIONS: Final = 5

_WRITERS_LOCK: Final = 0x6167656E7464
"""The advisory lock that makes writers wait for each other ("agentd"), also those of a gateway that was killed."""


class PostgreSQL:
    """A database of a server."""

    def __init__(self, url: URL) -> None:
        self._engine = create_async_engine(url, pool_size=_CONNECTIONS, pool_pre_ping=True)

    async def prepare(self, work: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Do something with SQLAlchemy's own connection, in a transaction."""
        async with self._transaction() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], Coroutine[object, object, _T]], *, lasting: bool) -> _T:
        """Do something in a transaction; with `lasting`, a power cut does not undo it."""
        async with self._transaction() as connection:
            if not lasting:
                await connection.execute(text("SET LOCAL synchronous_commit = off"))
            return await work(_Awaited(connection))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"))
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Give what reads: each statement sees what is committed then."""
        async with self._engine.connect() as connection:
            yield _Awaited(connection)

    async def keep(self) -> None:
        """Ask whether the server answers; what is written lasts by its care."""
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close it."""
        await self._engine.dispose()


class _Awaited:
    """A connection of SQLAlchemy's."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[Any]:
        return await self._connection.execute(statement, parameters)
