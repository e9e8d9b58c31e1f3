"""Looks whether agents at work go on, as `stall` says; what is tried with those that do not is the supervisor's.

Progress is a word in the record of the agent's program. While a tool is under way the CPU of what the program runs
counts too, and of a program of which no record tells (``custom``, a run that ends with its answer) what it prints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from agentd.daemon.process_watch import trees_of
from agentd.files.worker import Worker
from agentd.harness.base import Harness
from agentd.model.states import AgentState
from agentd.process.work import Asked, WorkMeter
from agentd.supervise.agent import Agent
from agentd.supervise.reconciler import Reconciler
from agentd.supervise.stall_standing import Standing, standing_of
from agentd.supervise.stalls import Seen, Silence, follow
from agentd.tmux.errors import TmuxError, TmuxUnreachableError

log = structlog.get_logger(__name__)

EVERY: Final = 30.0
"""Seconds between two looks at most."""

_SOONEST: Final = 0.5
_IDLE: Final = 1.0
"""Seconds until it is seen that an agent has `stall` now."""
_SHARE: Final = 0.1
"""Of the shortest budget, after which it is looked again."""


class StallWatch:
    """Looks at the agents that have `stall`.

    Parameters
    ----------
    harnesses
        By name; of each the name of its program is needed.
    """

    def __init__(self, reconciler: Reconciler, harnesses: Mapping[str, Harness]) -> None:
        self._reconciler = reconciler
        self._harnesses = harnesses
        self._worker = Worker("stalls")
        self._meter = WorkMeter()
        self._silences: Mapping[str, Silence] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        held = self._held()
        while True:
            await asyncio.sleep(_pause(held))
            held = self._held()
            agents = [agent for agent in held if _is_watched(agent)]
            if not agents:
                self._silences = {}
                continue
            try:
                await self._look(agents)
            except (OSError, TmuxError, TmuxUnreachableError) as error:
                # Of nobody anything is known now, so nothing is tried.
                log.warning("progress_not_seen", reason=str(error))

    def _held(self) -> Sequence[Agent]:
        """Those that have `stall`, or with which something is tried; looked for each second, and mostly none."""
        return [
            agent
            for agent in self._reconciler.agents.values()
            if (life := agent.life).policy.stall is not None or life.stalled is not None
        ]

    async def _look(self, agents: Sequence[Agent]) -> None:
        """Look once at agents."""
        standings = {agent.name: self._standing(agent) for agent in agents}
        printed = await self._printed(agents, standings)
        cpu = await self._cpu(agents, standings)
        now, before, self._silences = self._reconciler.host.clock.now(), self._silences, {}
        for agent in agents:
            run, standing = agent.life.run, standings[agent.name]
            if run is None or self._reconciler.agents.get(agent.name) is not agent or not _is_watched(agent):
                continue
            told = agent.host.watcher.told(run.id)
            seen = Seen(
                run.id,
                now,
                standing.phase,
                standing.rests,
                None if told is None else told.at,
                printed.get(agent.name) if standing.output else None,
                cpu.get(agent.name),
                standing.tools,
            )
            silence, went_on = follow(before.get(agent.name), seen)
            if agent.look(silence, went_on=went_on):
                silence = replace(silence, acted=now)
            self._silences[agent.name] = silence

    def _standing(self, agent: Agent) -> Standing:
        run, watcher = agent.life.run, agent.host.watcher
        assert run is not None
        return standing_of(agent.described.harness, watcher.shown(run.id), watcher.told(run.id))

    async def _printed(self, agents: Sequence[Agent], standings: Mapping[str, Standing]) -> Mapping[str, float]:
        """When agents printed something last, of those where that counts."""
        panes = {agent.name: agent.pane.pane_id for agent in agents if agent.pane and standings[agent.name].output}
        if not panes:
            return {}
        news = await self._reconciler.host.tmux.list_news(0)
        return {name: float(news[pane].active) for name, pane in panes.items() if pane in news}

    async def _cpu(self, agents: Sequence[Agent], standings: Mapping[str, Standing]) -> Mapping[str, float]:
        """The CPU that agents have used, of those where that counts."""
        named = {agent.name: agent for agent in agents}
        asked = [
            Asked(tree, standings[tree.agent].whole, self._programs(named[tree.agent]))
            for tree in trees_of(self._reconciler)
            if tree.agent in named and standings[tree.agent].cpu
        ]
        return await self._worker.do(partial(self._meter.measure, asked)) if asked else {}

    def _programs(self, agent: Agent) -> frozenset[str]:
        harness = self._harnesses.get(agent.described.harness)
        if harness is None or harness.takes_command:
            return frozenset()
        return frozenset({agent.described.harness, harness.binary})


def _pause(held: Iterable[Agent]) -> float:
    stalls = [agent.life.policy.stall for agent in held]
    budgets = [each for stall in stalls if stall is not None for each in (stall.model, stall.tool) if each]
    if not budgets:
        return _IDLE
    return max(_SOONEST, min(EVERY, min(budgets) * _SHARE))


def _is_watched(agent: Agent) -> bool:
    life = agent.life
    return life.state is AgentState.RUNNING and (life.policy.stall is not None or life.stalled is not None)
