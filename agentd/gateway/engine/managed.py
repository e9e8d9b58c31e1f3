"""Managed agents: what users do with those that they make by the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

import structlog

from agentd.gateway.engine.core import Core
from agentd.gateway.engine.managed_making import Making
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import (
    AgentdUnreachableError,
    ExistsError,
    ForbiddenError,
    GatewayError,
    InvalidRequestError,
    NotFoundError,
)
from agentd.gateway.model.managed import SEPARATOR, ManagedAgent, ManagedState
from agentd.gateway.model.managed_view import ManagedView
from agentd.gateway.model.objects import Json, JsonObject
from agentd.gateway.model.wanted import WantedAgent
from agentd.gateway.render.render import render
from agentd.gateway.store import managed
from agentd.model.states import AgentState

log = structlog.get_logger(__name__)

_RUNS_WITHIN: Final = 3.0
"""Seconds for which an answer waits until the agent runs; it is told how it does then, whatever that is."""
_LOOK: Final = 0.02
_AGAIN: Final = 5.0
"""Seconds after which what could not be put in order is tried again."""

_LONG: Final = 60.0
"""Seconds between looks at what is to be put in order."""

_ON_ITS_WAY: Final = frozenset({None, AgentState.DISABLED, AgentState.PENDING, AgentState.QUEUED, AgentState.STARTING})
"""States of an agent that is to run, before agentd has seen so, and before it does."""


class Managed:
    """All of them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._making = Making(core)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._listeners: list[asyncio.Event] = []

    def listen(self) -> asyncio.Event:
        """Give an event of one's own that is set when there are others, or they are other ones; now, too."""
        event = asyncio.Event()
        event.set()
        self._listeners.append(event)
        return event

    def changed(self) -> None:
        """Say that there may be others."""
        for event in self._listeners:
            event.set()

    @asynccontextmanager
    async def _alone(self, agent: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(agent.lower(), asyncio.Lock())
        async with lock:
            yield

    async def create(self, caller: Caller, wanted: WantedAgent) -> ManagedView:
        """Make an agent, and wait a little until it runs.

        Raises
        ------
        ForbiddenError
            If it would be another user's.
        InvalidRequestError
            If its harness has no notion of something.
        ExistsError
            If there is one of that name.
        AgentNotReadyError
            If it cannot be made; nothing of it is there then.
        """
        if not caller.sees(wanted.username):
            raise ForbiddenError(f"username: found {wanted.username}, expected {caller.user}, whose the token is")
        agent = f"{wanted.username}{SEPARATOR}{wanted.name}"
        rendered = render(wanted, await self._making.folder(agent))
        async with self._alone(agent):
            async with self._core.database.read() as connection:
                found = await managed.find(connection, agent)
            if found is not None:
                if found.state is ManagedState.READY:
                    raise ExistsError(f"there is an agent {found.shown_name} already")
                # A gateway ended while it made or removed it.
                await self._making.unmake(found, log_too=found.state is ManagedState.DELETING)
            made = await self._making.make(wanted, rendered)
        self.changed()
        return await self._running(made)

    async def _running(self, agent: ManagedAgent) -> ManagedView:
        shown: Mapping[str, Json] | None = None
        try:
            async with asyncio.timeout(_RUNS_WITHIN):
                while True:
                    shown = await self._core.agentd.agent(agent.agent)
                    if shown is not None and shown.get("state") not in _ON_ITS_WAY:
                        break
                    await asyncio.sleep(_LOOK)
        except (AgentdUnreachableError, TimeoutError):
            pass
        return ManagedView(agent, shown)

    async def page(self, caller: Caller, username: str | None) -> tuple[ManagedView, ...]:
        """List the agents that a caller sees, or those of a user."""
        if username is None and not caller.sees_all:
            username = caller.user
        async with self._core.database.read() as connection:
            found = await managed.every(connection, username)
        agents = [each for each in found if each.state is ManagedState.READY and caller.sees(each.username)]
        if not agents:
            return ()
        shown = await self._shown()
        return tuple(ManagedView(each, shown.get(each.agent.lower())) for each in agents)

    async def _shown(self) -> Mapping[str, JsonObject]:
        try:
            return await self._core.agentd.agents()
        except AgentdUnreachableError:
            return {}

    async def find(self, caller: Caller, name: str, username: str | None = None) -> ManagedAgent:
        """Find an agent by its name, without regard to case.

        Raises
        ------
        NotFoundError
            If there is none, or it is somebody else's.
        InvalidRequestError
            If several users have one of that name.
        """
        owner = username or caller.user
        async with self._core.database.read() as connection:
            if owner is not None:
                one = await managed.find(connection, f"{owner}{SEPARATOR}{name}")
                found = [] if one is None else [one]
            else:
                found = [each for each in await managed.every(connection) if each.name.lower() == name.lower()]
        found = [each for each in found if each.state is ManagedState.READY and caller.sees(each.username)]
        if not found:
            raise NotFoundError(f"there is no agent {name if owner is None else f'{owner}/{name}'}")
        if len(found) > 1:
            users = ", ".join(each.username for each in found)
            raise InvalidRequestError("username", f"missing, expected one of {users}: each has an agent {name}")
        return found[0]

    async def made_by(self, caller: Caller, agent: str) -> bool:
        """Whether a caller made an agent, by agentd's name of it."""
        async with self._core.database.read() as connection:
            found = await managed.find(connection, agent)
        return found is not None and caller.user is not None and found.username == caller.user

    async def get(self, caller: Caller, name: str, username: str | None) -> ManagedView:
        """Show an agent; raises as `find`."""
        agent = await self.find(caller, name, username)
        try:
            shown = await self._core.agentd.agent(agent.agent)
        except AgentdUnreachableError:
            shown = None
        return ManagedView(agent, shown)

    async def switch(self, caller: Caller, name: str, username: str | None, *, on: bool) -> ManagedView:
        """Have an agent run, or not; raises as `find`."""
        agent = await self.find(caller, name, username)
        async with self._alone(agent.agent):
            agent = replace(await self.find(caller, agent.name, agent.username), enabled=on)
            await self._change(agent, enabled=on)
            await self._making.declare(agent)
        self.changed()
        if on:
            return await self._running(agent)
        return await self._stopped(agent)

    async def talked(self, agent: ManagedAgent) -> None:
        """Have an agent go on with its conversation from now on: it has one.

        Raises
        ------
        AgentNotReadyError
            If that cannot be declared now.
        """
        async with self._alone(agent.agent):
            async with self._core.database.read() as connection:
                found = await managed.find(connection, agent.agent)
            if found is None or found.session_id != agent.session_id or found.state is not ManagedState.READY:
                return
            now = replace(found, talked=True)
            await self._change(now, launch=now.launch)
            await self._making.declare(now)

    async def _stopped(self, agent: ManagedAgent) -> ManagedView:
        shown: Mapping[str, Json] | None = None
        try:
            async with asyncio.timeout(_RUNS_WITHIN):
                while True:
                    shown = await self._core.agentd.agent(agent.agent)
                    if shown is None or shown.get("state") == AgentState.DISABLED:
                        break
                    await asyncio.sleep(_LOOK)
        except (AgentdUnreachableError, TimeoutError):
            pass
        return ManagedView(agent, shown)

    async def delete(self, caller: Caller, name: str, username: str | None, *, keep: bool) -> ManagedAgent:
        """Remove an agent, its folder and its log; raises as `find`.

        Parameters
        ----------
        keep
            Whether its folder and its log stay.
        """
        agent = await self.find(caller, name, username)
        async with self._alone(agent.agent):
            agent = replace(await self.find(caller, agent.name, agent.username), keep=keep, state=ManagedState.DELETING)
            await self._change(agent, state=agent.state.value, keep=keep)
            self.changed()
            await self._making.unmake(agent, log_too=True)
        self.changed()
        return agent

    async def logs(self, caller: Caller, name: str, username: str | None, lines: int) -> tuple[ManagedAgent, list[str]]:
        """Give the newest lines of an agent's log; raises as `find`."""
        agent = await self.find(caller, name, username)
        return agent, await self._core.user_files.read_log(agent.username, agent.name, lines)

    async def pubsub_config(self, agent: ManagedAgent) -> JsonObject | None:
        """Give the channel of an agent, whole; ``None`` if it has none."""
        shown = agent.pubsub_config
        if shown is None:
            return None
        return {**shown, **await self._core.user_files.secret(agent.username, agent.name)}

    async def ready(self) -> list[ManagedAgent]:
        """List all that are there."""
        async with self._core.database.read() as connection:
            return [each for each in await managed.every(connection) if each.state is ManagedState.READY]

    async def _change(self, agent: ManagedAgent, **values: object) -> None:
        await self._core.database.write(lambda writer: managed.change(writer.connection, agent.agent, **values))

    async def run(self) -> None:
        """Put in order what a former gateway left, then what could not be done at once, until cancelled."""
        first = True
        while True:
            async with self._core.database.read() as connection:
                found = await managed.every(connection)
            left = False
            for agent in found:
                if first or agent.state is not ManagedState.READY:
                    left = not await self._put_in_order(agent.agent) or left
            first = False
            if found:
                self.changed()
            if left:
                await asyncio.sleep(_AGAIN)
            else:
                await asyncio.sleep(_LONG)

    async def _put_in_order(self, name: str) -> bool:
        async with self._alone(name):
            async with self._core.database.read() as connection:
                agent = await managed.find(connection, name)
            if agent is None:
                return True
            try:
                if agent.state is ManagedState.READY:
                    await self._making.declare(agent)
                else:
                    await self._making.unmake(agent, log_too=True)
            except GatewayError as error:
                log.error("managed_agent_not_in_order", agent=agent.agent, reason=str(error))
                return False
        return True
