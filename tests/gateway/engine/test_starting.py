"""What is done between a message and its agent."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.driver import Driver
from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.scheduler import Scheduler
from agentd.gateway.model.caller import NOBODY
from agentd.gateway.model.requests import NewSession
from agentd.gateway.store.connection import Connection


async def test_nothing_is_read_between_the_start_of_a_run_and_its_delivery(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = engine.database.read
    readers: list[str] = []
    delivering = asyncio.get_running_loop().create_future()

    def counted() -> AbstractAsyncContextManager[Connection]:
        task = asyncio.current_task()
        readers.append("" if task is None else task.get_name())
        return read()

    async def deliver(driver: Driver) -> None:
        delivering.set_result((driver._stored.id, driver._stored.delivery_text, [*readers]))
        await asyncio.Event().wait()

    monkeypatch.setattr(Driver, "_deliver", deliver)
    session = await engine.sessions.create(NOBODY, NewSession(agent="helper"))
    run = await engine.sessions.create_run(NOBODY, session.id, "hello")
    monkeypatch.setattr(engine.database, "read", counted)
    scheduler = asyncio.create_task(Scheduler(engine._core, Agents(engine._core)).run())
    try:
        async with asyncio.timeout(30):
            run_id, text, read_by = await delivering
    finally:
        scheduler.cancel()
        await asyncio.wait([scheduler])
    assert (run_id, text) == (run.id, "hello")
    assert f"run {run.id}" not in read_by
