from __future__ import annotations

import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from agentd.gateway.store import migrations
from agentd.gateway.store.database import DatabaseError, open_database, sqlite_url
from agentd.gateway.store.schema import METADATA


async def test_the_migrations_make_the_tables_and_the_newest_is_known(tmp_path: Path) -> None:
    await (await open_database(sqlite_url(tmp_path / "db"))).close()
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}")
    with engine.connect() as connection:
        assert not compare_metadata(MigrationContext.configure(connection), METADATA)
    engine.dispose()
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == migrations.HEAD


async def test_nobody_else_may_read_a_database(tmp_path: Path) -> None:
    await (await open_database(sqlite_url(tmp_path / "db"))).close()
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600


async def test_without_migrations_an_empty_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="run agentd-gateway migrate"):
        await open_database(sqlite_url(tmp_path / "db"), with_migrations=False)


async def test_a_database_of_a_newer_gateway_is_refused(tmp_path: Path) -> None:
    database = await open_database(sqlite_url(tmp_path / "db"))
    await database.write(lambda w: w.connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await database.close()
    with pytest.raises(DatabaseError, match="schema 9999, newer than"):
        await open_database(sqlite_url(tmp_path / "db"))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("not a url", "expected a URL"),
        ("mysql://user:hunter2@host/name", "expected sqlite or postgresql"),
        ("sqlite://", "expected the path of a file"),
        ("sqlite:////nowhere/at/all", "cannot be opened"),
        ("postgresql://user:hunter2@127.0.0.1:1/name", "cannot be opened"),
    ],
)
async def test_a_database_that_cannot_be_used_is_an_error_without_its_password(address: str, reason: str) -> None:
    with pytest.raises(DatabaseError, match=reason) as caught:
        await open_database(address)
    assert "hunter2" not in str(caught.value)
