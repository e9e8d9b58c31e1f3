"""Looks at the paths of users that agents need, whose changes nobody announces."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from agentd.supervise.agent import Agent
from agentd.supervise.host import Host
from agentd.supervise.overmounts import Overmounts
from agentd.supervise.refused_launches import RefusedLaunches

log = structlog.get_logger(__name__)


class PathLooks:
    """One look at a time, at what launches need and at mounts on workdirs.

    Parameters
    ----------
    agents
        By name, as they are at the time.
    """

    def __init__(self, host: Host, agents: Mapping[str, Agent]) -> None:
        self._agents = agents
        self._refused, self._overmounts = RefusedLaunches(host), Overmounts(host)
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def look(self) -> None:
        """Look at users' paths, whose changes nobody announces: what launches need, and mounts on workdirs."""
        if not self._closed and self._looking is None:
            self._looking = asyncio.create_task(self._look_at_all(), name="paths of agents")
            self._looking.add_done_callback(self._over)

    async def _look_at_all(self) -> None:
        await self._refused.look(list(self._agents.values()))
        await self._overmounts.look(list(self._agents.values()))

    def _over(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled() and task.exception() is not None:
            log.error("observation_failed", exc_info=task.exception())

    async def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
