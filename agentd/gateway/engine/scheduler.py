"""Starts queued runs, and keeps one driver for each that is at work."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from agentd.gateway.engine import steps
from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.driver import Driver
from agentd.gateway.engine.taking import progress_of
from agentd.gateway.model.errors import GatewayError
from agentd.gateway.model.follow import Progress
from agentd.gateway.model.objects import Event, EventType
from agentd.gateway.model.queue import Start, startable
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.runs import WORKER, Stage, StoredRun
from agentd.gateway.store.sessions import StoredSession

log = structlog.get_logger(__name__)

_AGAIN_AFTER_DEFECT: Final = 30.0

_AGAIN: Final = 1.0
"""Seconds after which something is tried again that failed, such as the database."""


class Scheduler:
    """Runs until it is cancelled; turns go on after it."""

    def __init__(self, core: Core, agents: Agents) -> None:
        self._core = core
        self._agents = agents
        self._work = asyncio.Event()
        self._drivers: dict[str, Driver] = {}
        """By run."""
        self._changed: set[str] = set()
        """Runs without a driver that were changed since the last look."""

    def take(self, events: list[tuple[Event, str | None]]) -> None:
        """Take what was committed."""
        for event, _ in events:
            if event.run_id is not None and (event.event_type.ends or event.event_type is EventType.PARENT_REPLY):
                driver = self._drivers.get(event.run_id)
                if driver is not None:
                    driver.nudge()
                else:
                    self._changed.add(event.run_id)
            if event.event_type in (EventType.RUN_QUEUED, EventType.PARENT_REPLY):
                self._work.set()

    async def run(self) -> None:
        """Follow what a former gateway left at work, and start what waits, in its order."""
        async with asyncio.TaskGroup() as group:
            self._work.set()
            while True:
                await self._work.wait()
                self._work.clear()
                try:
                    self._changed.clear()
                    for stored, session in await self._start():
                        driver = Driver(self._core, self._agents, stored, session, Progress())
                        self._add(group, driver, stored, is_current=stored.id not in self._changed)
                    await self._follow(group)
                except GatewayError as error:
                    log.error("runs_not_started", reason=str(error))
                    await asyncio.sleep(_AGAIN)
                    self._work.set()

    async def _start(self) -> list[tuple[StoredRun, StoredSession]]:
        """Start what waits; returns the runs whose first turn that is, as they are then.

        A message reaches its agent the sooner the less is read between: each statement is a way to another thread.
        """

        async def work(writer: Writer) -> list[tuple[StoredRun, StoredSession]]:
            connection = writer.connection
            waiting = await runs.waiting(connection)
            if not waiting:
                return []
            working = await runs.working(connection)
            options = self._core.options
            begun = [await self._begin(writer, each) for each in startable(waiting, working, options.max_concurrency)]
            return [each for each in begun if each is not None]

        return await self._core.database.write(work, lasting=False)

    async def _begin(self, writer: Writer, start: Start) -> tuple[StoredRun, StoredSession] | None:
        stored = await runs.find(writer.connection, start.run_id)
        assert stored is not None, "it is there in this transaction"
        now = self._core.wall()
        worker = f"{WORKER}{start.worker}"
        working = Stage.WORKING.value
        await runs.change(writer.connection, stored.id, stage=working, working_since=now, worker_id=worker)
        if stored.status is not RunStatus.QUEUED:
            return None
        session = await sessions.find(writer.connection, stored.run.session_id)
        assert session is not None, "sessions are removed with their runs"
        await runs.change(writer.connection, stored.id, started_at=now)
        await steps.change_status(writer, session, stored, RunStatus.RUNNING, {}, now)
        begun = await runs.find(writer.connection, stored.id)
        changed = await sessions.find(writer.connection, session.id)
        return None if begun is None or changed is None else (begun, changed)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Follow what else is at work: what a former gateway left, and what goes on."""
        async with self._core.database.read() as connection:
            working = [each for each in await runs.in_stage(connection, Stage.WORKING) if each.id not in self._drivers]
            known = [
                (await sessions.find(connection, each.run.session_id), await progress_of(connection, each.id))
                for each in working
            ]
        for stored, (session, progress) in zip(working, known, strict=True):
            assert session is not None, "sessions are removed with their runs"
            self._add(group, Driver(self._core, self._agents, stored, session, progress), stored)

    def _add(self, group: asyncio.TaskGroup, driver: Driver, stored: StoredRun, *, is_current: bool = False) -> None:
        if not is_current:
            driver.nudge()
        self._drivers[stored.id] = driver
        group.create_task(self._drive(stored), name=f"run {stored.id}")

    async def _drive(self, stored: StoredRun) -> None:
        try:
            await self._drivers[stored.id].drive()
        except GatewayError as error:
            log.error("run_not_followed", run=stored.id, agent=stored.target, reason=str(error))
            await asyncio.sleep(_AGAIN)
        except Exception as error:
            log.error("run_not_followed", run=stored.id, agent=stored.target, exc_info=error)
            await asyncio.sleep(_AGAIN_AFTER_DEFECT)
        finally:
            self._drivers.pop(stored.id, None)
            self._work.set()
