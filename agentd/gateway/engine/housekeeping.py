"""What is done from time to time: idle agents withdrawn, leases renewed, what is too old forgotten."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.manager import Manager
from agentd.gateway.engine.options import DAY
from agentd.gateway.ids import first_id
from agentd.gateway.model.errors import AgentNotReadyError, GatewayError
from agentd.gateway.store import channels, events, idempotency, removing, runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.runs import Stage

log = structlog.get_logger(__name__)

_LONGEST_PAUSE: Final = 60.0
_SHORTEST_PAUSE: Final = 0.5
_MANAGER_PAUSE: Final = 2.0
"""Between two looks whether the manager is still declared; one without a change reads no file."""

_DATABASE_PAUSE: Final = 1.0
"""Between two looks whether the database is there: 0.1 ms each."""

_KEY_KEPT: Final = 2 * DAY
"""How long answers to requests that may come again are kept."""

_AT_ONCE: Final = 1000
"""Events, or sessions, that are removed in one transaction: others wait for it."""


class Housekeeping:
    """Runs until it is cancelled."""

    def __init__(self, core: Core, agents: Agents, manager: Manager) -> None:
        self._core = core
        self._agents = agents
        self._manager = manager

    async def run(self) -> None:
        """Do it all, again and again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_order(), name="order")
            group.create_task(self._keep_manager(), name="manager")
            group.create_task(self._keep_database(), name="database")

    async def _keep_order(self) -> None:
        pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, self._core.options.idle_timeout / 4))
        while True:
            try:
                await self._manager.keep()
                await self.withdraw_idle()
                await self.renew()
                await self.forget()
            except GatewayError as error:
                log.error("not_kept_in_order", reason=str(error))
            await asyncio.sleep(pause)

    async def _keep_manager(self) -> None:
        while self._core.options.manager is not None:
            await asyncio.sleep(_MANAGER_PAUSE)
            await self._manager.keep(renew=False)

    async def _keep_database(self) -> None:
        while True:
            await self._core.database.keep()
            await asyncio.sleep(_DATABASE_PAUSE)

    async def withdraw_idle(self) -> None:
        """Withdraw the agents of sessions that are closed, or were not used for long."""
        before = self._core.wall() - self._core.options.idle_timeout
        async with self._core.database.read() as connection:
            declared = await sessions.declared(connection)
        for stored in declared:
            if not stored.open or stored.used_at < before:
                try:
                    await self._agents.withdraw(stored, idle_only=stored.open)
                except AgentNotReadyError as error:
                    # One owner's folder keeps nothing else from being done.
                    log.error("agent_not_withdrawn", agent=stored.target, reason=str(error))

    async def renew(self) -> None:
        """Renew the leases of all agents that are declared."""
        async with self._core.database.read() as connection:
            declared = await sessions.declared(connection)
        await self._core.declarations.renew((stored.session.owner, stored.target) for stored in declared)

    async def forget(self) -> None:
        """Forget what is older than is to be remembered."""
        now = self._core.wall()
        before = now - self._core.options.retention

        async def some(writer: Writer) -> bool:
            connection = writer.connection
            await idempotency.remove_before(connection, now - _KEY_KEPT)
            await channels.remove_before(connection, first_id("run", before))
            closed = await sessions.closed_before(connection, before, _AT_ONCE)
            if closed:
                await removing.remove_sessions(connection, closed)
            working = [stored.id for stored in await runs.in_stage(connection, Stage.WORKING)]
            removed = await events.remove_before(connection, before, _AT_ONCE, working)
            return removed == _AT_ONCE or len(closed) == _AT_ONCE

        while await self._core.database.write(some):
            pass
