"""Tries refused launches again, at each resync, once all that they need is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from agentd.launch.preflight import PreflightError
from agentd.supervise.agent import Agent
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.launching import check_launch
from agentd.tmux.errors import TmuxUnreachableError


class RefusedLaunches:
    """Remembers which launches were tried again because nothing was seen to be missing."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tried: set[str] = set()
        """Agents launched after a look that found all, where none found something missing since."""

    async def look(self, agents: Iterable[Agent]) -> None:
        """Launch the agents whose launch was refused and for which everything is there now."""
        refused = [agent for agent in agents if agent.life.refusals]
        self._tried &= {agent.name for agent in refused}
        await asyncio.gather(*(self._look_for(agent) for agent in refused if agent.life.refused))

    async def _look_for(self, agent: Agent) -> None:
        run, desired = agent.life.run, agent.life.desired
        if run is None or desired is None or desired.launch is None:
            # What cannot be launched as declared waits for another declaration.
            return
        try:
            await self._check(desired)
            # Its own pane, which the next run opens in, is in a session of that name.
            taken = not agent.life.session_open and await self._host.tmux.has_session(desired.spec.session)
        except (PreflightError, TmuxUnreachableError):
            taken = True
        if taken:
            self._tried.discard(agent.name)
            return
        if agent.life.run is run and agent.life.desired is desired:
            agent.prerequisites_met(tried=agent.name in self._tried)
            self._tried.add(agent.name)

    async def _check(self, desired: DesiredAgent) -> None:
        """Check what a launch needs but does not make itself.

        Raises
        ------
        PreflightError
            If it is missing.
        """
        spec, preflight = desired.spec, self._host.preflight
        if spec.checkout is not None:
            await preflight.check_folder(spec.checkout.repo)
        if spec.checkout is not None or spec.role is not None:
            try:
                await preflight.check_folder(spec.workdir)
            except PreflightError:
                return
        await check_launch(self._host, desired)
