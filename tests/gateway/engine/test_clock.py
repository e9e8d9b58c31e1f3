"""The machine's clock is set: lists keep the order in which things were made, and turns the time they have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.gateway import ids
from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.driver import Driver
from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.options import EngineOptions
from agentd.gateway.model.caller import NOBODY
from agentd.gateway.model.follow import Progress
from agentd.gateway.model.requests import NewMessage, NewSession, RunQuery, SessionQuery
from agentd.gateway.store import runs, sessions
from agentd.gateway.store.database import open_database


def set_clock(engine: Engine, clock: Callable[[], float]) -> None:
    object.__setattr__(engine._core, "wall", clock)


async def test_lists_are_in_the_order_in_which_things_were_made(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, queued = [], []
    monkeypatch.setattr(ids, "_last", {})
    again = Engine(
        EngineOptions(tmp_path / "jcard.toml", tmp_path / "jcard.d", tmp_path / "agentd.sock"), engine.database
    )
    for number, (each, ahead) in enumerate([(engine, 3600), (engine, 0), (again, -3600), (again, 0)]):
        if number == 2:
            # As the next process, which knows the ids of the former by the database.
            ids._last.clear()
            await (await open_database(database_url)).close()
        now = time.time() + ahead
        set_clock(each, lambda now=now: now)  # type: ignore[misc]
        session = await each.sessions.create(NOBODY, NewSession(agent="helper"))
        sent = await each.sessions.send_message(NOBODY, session.id, NewMessage("hello"), None)
        assert sent.run is not None
        made.append(session.id)
        queued.append(sent.run.id)
    assert [each.id for each in (await again.sessions.list(NOBODY, SessionQuery())).sessions] == made[::-1]
    assert [each.id for each in (await again.runs.list(NOBODY, RunQuery())).runs] == queued[::-1]
    first = await again.runs.list(NOBODY, RunQuery(limit=2))
    rest = await again.runs.list(NOBODY, RunQuery(limit=2, cursor=first.next_cursor))
    assert [each.id for each in (*first.runs, *rest.runs)] == queued[::-1], "page by page"
    await again.close()


async def test_a_turn_has_its_time_whatever_the_clock_says(engine: Engine) -> None:
    now = time.time()
    set_clock(engine, lambda: now)
    session = await engine.sessions.create(NOBODY, NewSession(agent="helper"))
    run = await engine.sessions.create_run(NOBODY, session.id, "hello", timeout_s=60)
    async with engine.database.read() as connection:
        stored, of = await runs.find(connection, run.id), await sessions.find(connection, session.id)
    assert stored is not None
    assert of is not None
    await engine.database.write(lambda writer: runs.change(writer.connection, run.id, working_since=now - 10))
    driver = Driver(engine._core, Agents(engine._core), stored, of, Progress())
    await driver._reload()
    for ahead in (0, 3600, -3600):
        set_clock(engine, lambda ahead=ahead: now + ahead)  # type: ignore[misc]
        left = (driver._deadline() or 0) - asyncio.get_running_loop().time()
        assert 40 < left <= 50
