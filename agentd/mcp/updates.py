"""Telling hosts of their workers' ends and questions without being asked, as updates of resources."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final

from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated

from agentd.mcp.uris import agent_uri

_MOST: Final = 1024
"""Subscriptions by hosts of the older protocol. They say nothing when they go, so the oldest makes room."""

Follow = Callable[[Callable[[str], Awaitable[None]]], Coroutine[None, None, None]]
"""Follows what happens to all agents for ever, and tells the name of each to which something happened."""


class Updates:
    """Tells those who asked for it that something happened to an agent.

    Parameters
    ----------
    follow
        Runs while hosts are served.
    """

    def __init__(self, follow: Follow) -> None:
        self.bus = InMemorySubscriptionBus()
        self._follow = follow
        self._subscribed: OrderedDict[tuple[int, str], ServerSession] = OrderedDict()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the agents."""
        following = asyncio.create_task(self._follow(self._happened), name="updates of resources")
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    def subscribe(self, session: ServerSession, uri: str) -> None:
        """Tell a host of the older protocol of a resource's updates."""
        self._subscribed[_key(session, uri)] = session
        while len(self._subscribed) > _MOST:
            self._subscribed.popitem(last=False)

    def unsubscribe(self, session: ServerSession, uri: str) -> None:
        """Do not any more."""
        self._subscribed.pop(_key(session, uri), None)

    async def _happened(self, agent: str) -> None:
        for part in ("events", "transcript", "screen"):
            uri = agent_uri(agent, part)
            await self.bus.publish(ResourceUpdated(uri))
            for (_, subscribed), session in list(self._subscribed.items()):
                if subscribed == uri:
                    await session.send_resource_updated(uri)


def _key(session: ServerSession, uri: str) -> tuple[int, str]:
    # A session object is of one request; what it sends on is the connection's.
    return id(session._connection), uri  # noqa: SLF001 (the SDK gives no name to a connection)
