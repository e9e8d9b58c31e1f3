"""An engine without processes, on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.options import EngineOptions
from agentd.gateway.store.database import open_database, sqlite_url
from tests.support import postgresql as server


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "gateway.db")
    running: server.Server = request.getfixturevalue("postgresql")
    return await running.database()


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine that starts no runs, without an agentd; it knows the agents ``helper`` and ``other``."""
    jcard = tmp_path / "jcard.toml"
    jcard.write_text(
        '[[agents]]\nname = "helper"\nharness = "codex"\n[[agents]]\nname = "other"\nharness = "claude-code"\n'
    )
    options = EngineOptions(jcard, tmp_path / "jcard.d", tmp_path / "agentd.sock", max_queue=50, workdirs=(tmp_path,))
    database = await open_database(database_url)
    engine = Engine(options, database)
    yield engine
    await engine.close()
    await database.close()
