"""Following managed agents, whoever began their turns: what they ask to be confirmed, and their logs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from agentd.api.client.socket import RefusedError
from agentd.gateway.engine.asking import Asking
from agentd.gateway.engine.confirmations import Confirmations
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.managed import Managed
from agentd.gateway.engine.reader import Reader
from agentd.gateway.model.errors import AgentdUnreachableError, GatewayError
from agentd.gateway.model.follow import Line
from agentd.gateway.model.managed import ManagedAgent
from agentd.gateway.model.user_log import log_line
from agentd.gateway.store import managed, sessions

log = structlog.get_logger(__name__)

_LOOK: Final = 5.0
"""Seconds between looks at which agents hold conversations by a managed one's definition."""
_AGAIN: Final = 1.0


class Followers:
    """A task for each agent."""

    def __init__(self, core: Core, managed: Managed, confirmations: Confirmations) -> None:
        self._core = core
        self._managed = managed
        self._confirmations = confirmations
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """By name, with what tells one agent from another of the same name."""

    def look(self) -> None:
        """Say that there may be others to follow."""
        self._managed.changed()

    async def run(self) -> None:
        """Follow all, until cancelled."""
        news = self._managed.listen()
        try:
            while True:
                news.clear()
                try:
                    await self._follow(await self._targets())
                except GatewayError as error:
                    log.error("managed_agents_not_followed", reason=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):
                        await news.wait()
        finally:
            await self._end([task for _, task in self._tasks.values()])

    async def _targets(self) -> dict[str, ManagedAgent]:
        agents = {agent.agent: agent for agent in await self._managed.ready()}
        targets = dict(agents)
        if agents:
            async with self._core.database.read() as connection:
                declared = await sessions.declared(connection)
            for stored in declared:
                agent = agents.get(stored.session.agent or "")
                if agent is not None:
                    targets[stored.target] = agent
        return targets

    async def _follow(self, targets: dict[str, ManagedAgent]) -> None:
        over = [name for name, (session, _) in self._tasks.items() if _session(targets.get(name)) != session]
        await self._end([self._tasks.pop(name)[1] for name in over])
        for name, agent in targets.items():
            if name not in self._tasks:
                follower = _Follower(self._core, self._managed, self._confirmations, name, agent)
                task = asyncio.create_task(follower.run(), name=f"follows {name}")
                self._tasks[name] = agent.session_id, task

    @staticmethod
    async def _end(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _session(agent: ManagedAgent | None) -> str | None:
    return None if agent is None else agent.session_id


def _is_before(line: Line, time: float) -> bool:
    at = line.get("at")
    return isinstance(at, int | float) and at < time


class _Follower:
    """Follows one agent."""

    def __init__(
        self, core: Core, managed_agents: Managed, confirmations: Confirmations, target: str, agent: ManagedAgent
    ) -> None:
        self._core = core
        self._managed = managed_agents
        self._talked = agent.talked
        self._target = target
        self._agent = agent
        self._asking = Asking(core, confirmations, target, agent)
        self._news = asyncio.Event()
        after = agent.stream_after if target == agent.agent else None
        self._reader = Reader(core.turns, target, after or 0, self._news)

    async def run(self) -> None:
        reading = asyncio.create_task(self._reader.run(), name=f"stream of {self._target}")
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                try:
                    await self._take()
                except (AgentdUnreachableError, RefusedError):
                    # The stream comes again, with what was missed.
                    await self._again()
                except GatewayError as error:
                    log.error("managed_agent_not_followed", agent=self._target, reason=str(error))
                    await self._again()
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _again(self) -> None:
        await asyncio.sleep(_AGAIN)
        self._asking.lost = True
        self._news.set()

    async def _take(self) -> None:
        taken, lost = self._reader.take()
        # agentd keeps the lines of a deleted agent of the same name for a while.
        lines = [line for line in taken if not _is_before(line, self._agent.created_at)]
        self._asking.lost = self._asking.lost or lost
        shown = [text for line in lines if (text := log_line(line, self._target)) is not None]
        await self._core.user_files.log(self._agent.username, self._agent.name, shown)
        await self._asking.take(lines)
        if not self._talked and self._target == self._agent.agent and any(line.get("turn") for line in lines):
            await self._managed.talked(self._agent)
            self._talked = True
        if self._asking.lost:
            asyncio.get_running_loop().call_later(_AGAIN, self._news.set)
        if taken and self._target == self._agent.agent:
            after = self._reader.after
            await self._core.database.write(
                lambda writer: managed.change(writer.connection, self._agent.agent, stream_after=after), lasting=False
            )
