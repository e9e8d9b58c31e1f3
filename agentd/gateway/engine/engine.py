"""The engine of the gateway: what clients may do, and the tasks that carry it out.

Every operation is whole or absent: its writes are one transaction. It may be cancelled at any time. What a caller does
not own does not exist for it: `NotFoundError`. All errors are `agentd.gateway.model.errors.GatewayError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.confirmations import Confirmations
from agentd.gateway.engine.conversations import Conversations
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.family import Family
from agentd.gateway.engine.following import Followers
from agentd.gateway.engine.happenings import Answers, Happenings
from agentd.gateway.engine.hiring import Hiring
from agentd.gateway.engine.housekeeping import Housekeeping
from agentd.gateway.engine.inbox import Inbox
from agentd.gateway.engine.managed import Managed
from agentd.gateway.engine.manager import Manager
from agentd.gateway.engine.new_session import agents_for, hidden_agents
from agentd.gateway.engine.options import EngineOptions
from agentd.gateway.engine.runs import Runs
from agentd.gateway.engine.scheduler import Scheduler
from agentd.gateway.engine.status import Status
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Event, EventType
from agentd.gateway.model.results import (
    DeclaredAgent,
)
from agentd.gateway.store.database import Database

log = structlog.get_logger(__name__)


class Engine:
    """The parts that clients' requests go to, and the tasks that work in the background.

    Every operation that makes something takes ``once``, the request's idempotency key: the answer, as routes give it
    with status 201, is stored in the same transaction. `KeyTakenError` if another request with it was the first.

    Parameters
    ----------
    database
        Open, and of the newest schema.
    """

    def __init__(self, options: EngineOptions, database: Database) -> None:
        core = Core.of(options, database)
        self.options = options
        self.database = database
        self.agentd = core.agentd
        self._core = core
        self._agents = Agents(core)
        self.sessions = Conversations(core, self._agents)
        self.runs = Runs(core)
        self.family = Family(core)
        self.hiring = Hiring(core)
        self.happenings = Happenings(core)
        self.answers = Answers(core)
        self.status = Status(core)
        self.confirmations = Confirmations(core)
        """What managed agents wait to be confirmed."""
        self.inbox = Inbox(core, self.sessions, self.runs, self.confirmations)
        """What comes by channels."""
        self.managed = Managed(core)
        """The agents that users make."""
        self._followers = Followers(core, self.managed, self.confirmations)
        self._scheduler = Scheduler(core, self._agents)
        self._housekeeping = Housekeeping(core, self._agents, Manager(core))
        database.committed = self._committed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start queued runs and follow those at work while the context is open; turns go on after it."""
        tasks = [
            asyncio.create_task(self._scheduler.run(), name="scheduler"),
            asyncio.create_task(self._housekeeping.run(), name="housekeeping"),
            asyncio.create_task(self.confirmations.run(), name="confirmations"),
            asyncio.create_task(self.managed.run(), name="managed agents"),
            asyncio.create_task(self._followers.run(), name="followers"),
        ]
        for task in tasks:
            task.add_done_callback(_say_why)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.close()

    async def close(self) -> None:
        """Close what an engine opens that is not running."""
        await self._core.close()

    def _committed(self, events: list[tuple[Event, str | None]]) -> None:
        self._core.feed.publish(events)
        self._scheduler.take(events)
        if any(event.event_type is EventType.RUN_STARTED for event, _ in events):
            # It may be the first in a conversation by a managed agent's definition.
            self._followers.look()

    async def hidden_agents(self, caller: Caller) -> frozenset[str]:
        """Give agentd's names, in lower case, of the agents of users that a caller does not see."""
        return await hidden_agents(self._core, caller)

    async def agents(self, caller: Caller) -> tuple[DeclaredAgent, ...]:
        """List the agents that are declared and a caller sees, but those that hold sessions, by name.

        Raises
        ------
        AgentNotReadyError
            If it cannot be read which there are.
        """
        agents = (await agents_for(self._core, caller)).values()
        return tuple(
            DeclaredAgent(spec.name, spec.harness, self._core.definitions.since(spec.source))
            for spec in sorted(agents, key=lambda spec: spec.name)
        )


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task_ended", task=task.get_name(), exc_info=error)
