"""A database that is full, locked or away, or does not answer: clear errors, nothing half done, and it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from agentd.gateway.model.errors import DatabaseUnavailableError
from agentd.gateway.store import database as module
from agentd.gateway.store import sqlite
from agentd.gateway.store.database import Database, Writer, open_database, sqlite_url
from tests.support import postgresql

_COUNT = text("SELECT count(*) FROM conversation_removed")


async def note(database: Database, name: str, size: int = 1) -> None:
    """Store something in one transaction of two statements."""

    async def work(writer: Writer) -> None:
        for part in ("a", "b"):
            values = {"c": f"{name}-{part}", "i": "x" * size}
            await writer.connection.execute(text("INSERT INTO conversation_removed VALUES (:c, :i)"), values)

    await database.write(work)


async def noted(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(_COUNT)).scalar_one())


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.1)
    database = await open_database(sqlite_url(tmp_path / "db"))
    await note(database, "first")
    yield database
    await database.close()


async def test_one_that_another_process_holds_is_waited_for_then_refused(database: Database, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError, match="database is locked"):
            await note(database, "second")
        assert await noted(database) == 2, "it is read meanwhile"
        other.execute("ROLLBACK")
    await note(database, "third")
    assert await noted(database) == 4


async def test_what_a_full_disk_does_not_take_is_not_half_there(database: Database) -> None:
    async def bound(writer: Writer) -> None:
        await writer.connection.execute(text("PRAGMA max_page_count = 200"))

    await database.write(bound)
    with pytest.raises(DatabaseUnavailableError, match="full"):
        await note(database, "large", 1 << 20)
    assert await noted(database) == 2
    await note(database, "small")
    assert await noted(database) == 4


async def test_one_that_hangs_is_given_up_and_goes_on_once_it_answers(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    backend = database._backend
    assert isinstance(backend, sqlite.Sqlite)
    answers = threading.Event()
    hung = [worker.do(answers.wait) for worker in (backend._writer, *[backend._readers] * 4)]
    try:
        with pytest.raises(DatabaseUnavailableError, match=r"no answer for 0\.3 s; it may be done later"):
            await note(database, "second")
        with pytest.raises(DatabaseUnavailableError, match=r"no answer for 0\.3 s; nothing was done"):
            await note(database, "third")
        with pytest.raises(DatabaseUnavailableError, match=r"no answer for 0\.3 s"):
            await noted(database)
    finally:
        answers.set()
    monkeypatch.setattr(module, "PATIENCE", 30.0)
    await asyncio.gather(*hung)
    await note(database, "fourth")
    assert await noted(database) == 6, "the first, the second, and the fourth"


async def test_connections_that_a_server_cut_are_made_anew(postgresql: postgresql.Server) -> None:
    url = await postgresql.database()
    database, other = await open_database(url), await open_database(url)
    try:
        await note(database, "first")
        assert await noted(database) == 2
        async with other.read() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await note(database, "second")
        assert await noted(database) == 4
    finally:
        await database.close()
        await other.close()


async def test_a_server_that_crashes_is_gone_on_with_once_it_is_back(postgresql: postgresql.Server) -> None:
    database = await open_database(await postgresql.database())
    try:
        await note(database, "first")
        postgresql.crash()
        try:
            with pytest.raises(DatabaseUnavailableError):
                await note(database, "second")
            with pytest.raises(DatabaseUnavailableError):
                await noted(database)
        finally:
            postgresql.start()
        assert await noted(database) == 2, "nothing is half there"
        await note(database, "third")
        assert await noted(database) == 4
    finally:
        await database.close()


def delete(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


@pytest.mark.parametrize("which", ["all", "the database alone", "its folder"])
async def test_one_that_is_deleted_is_put_back_and_nothing_is_lost(tmp_path: Path, which: str) -> None:
    path = tmp_path / "state" / "db"
    path.parent.mkdir()
    database = await open_database(sqlite_url(path))
    try:
        await note(database, "first")
        assert await noted(database) == 2
        if which == "its folder":
            shutil.rmtree(path.parent)
        elif which == "all":
            delete(path)
        else:
            path.unlink()
        await note(database, "second")
        assert await noted(database) == 4
        assert path.stat().st_mode & 0o777 == 0o600
        path.unlink()
        await database.keep()
        assert path.exists(), "also while nothing is written"
        assert database.trouble is None
        path.unlink()
    finally:
        await database.close()
    database = await open_database(sqlite_url(path))
    try:
        assert await noted(database) == 4, "also at the end"
        assert {file.name for file in path.parent.iterdir()} == {"db", "db-wal", "db-shm"}
    finally:
        await database.close()


async def test_in_the_place_of_another_file_nothing_is_written_and_what_was_there_is_kept(tmp_path: Path) -> None:
    path, other = tmp_path / "db", tmp_path / "other"
    database = await open_database(sqlite_url(other))
    await note(database, "theirs")
    await database.close()
    database = await open_database(sqlite_url(path))
    await note(database, "ours")
    await note(database, "and more")
    other.replace(path)
    with pytest.raises(DatabaseUnavailableError, match=r"another file was put at .*/db: restart"):
        await note(database, "third")
    with pytest.raises(DatabaseUnavailableError, match="another file was put"):
        await noted(database)
    await database.keep()
    assert database.trouble is not None
    await database.close()
    (kept,) = tmp_path.glob("db.replaced-*")
    for file, count in ((path, 2), (kept, 4)):
        database = await open_database(sqlite_url(file))
        assert await noted(database) == count
        await database.close()
