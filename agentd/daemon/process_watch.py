"""Looks at the processes of agents: tells their growth, and ends the orphans of idle ones as `reap` says.

A look at 300 agents with 1200 processes takes 50 ms of CPU in a thread; one a minute is 0.08 % of a core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from agentd.files.worker import Worker
from agentd.model.events import Detail, Event, EventKind
from agentd.model.processes import AgentProcesses, ProcessKind
from agentd.process.commands import AgentProcess, CommandLooks, by_command, reapable
from agentd.process.ending import EndedProcess, end_processes
from agentd.process.usage import Tree
from agentd.recording.metrics.measures import PROCESS_MEMORY, PROCESSES, Family
from agentd.supervise.agent import Agent
from agentd.supervise.leaks import Growth, Sample, grown, reaps
from agentd.supervise.reconciler import Reconciler
from agentd.text.sizes import about

log = structlog.get_logger(__name__)

EVERY: Final = 60.0
"""Seconds between two looks."""

_DECLARED: Final = 5.0
"""Seconds at most until a `reap` that has just been declared counts."""
_SOONEST: Final = 1.0
_FRESH: Final = 1.0
"""Seconds for which a look answers whoever asks."""
_SHARE: Final = 0.1
"""Of the shortest `reap`, after which it is looked again."""


class ProcessWatch:
    """Knows what processes the agents had at the last look."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._worker = Worker("processes")
        self._looks = CommandLooks()
        self._found: Mapping[str, Sequence[AgentProcess]] = {}
        self._runs: Mapping[str, str] = {}
        """The run of each agent that was looked at."""
        self._looked: float | None = None
        self._looking: asyncio.Task[None] | None = None
        self._growth: dict[str, Growth] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        clock = self._reconciler.host.clock
        begun = clock.now()
        while True:
            rest = begun + self._pause() - clock.now()
            if rest > 0:
                await asyncio.sleep(min(rest, _DECLARED))
                continue
            begun = clock.now()
            if not any(agent.life.state.live for agent in self._reconciler.agents.values()):
                continue
            try:
                await self._look()
            except OSError as error:
                log.warning("processes_not_listed", error=error.strerror)
                continue
            self._tell_growth()
            await self._reap()

    def _pause(self) -> float:
        waits = filter(None, (agent.life.policy.reap for agent in self._reconciler.agents.values()))
        return pause(min(waits, default=None))

    async def processes(self, name: str) -> AgentProcesses | None:
        """Look at the processes of an agent; raises as `agentd.model.processes.ProcessSource` says."""
        agent = self._reconciler.find(name)
        if agent is None:
            return None
        if self._looked is None or self._reconciler.host.clock.now() - self._looked >= _FRESH:
            await self._look()
        found = self._found.get(agent.name, ()) if agent.life.state.live else ()
        return AgentProcesses(agent.name, len(found), sum(each.memory_bytes for each in found), by_command(found))

    def families(self) -> Iterator[Family]:
        """What the last look found of agents that run."""
        counts: dict[tuple[str, ...], float] = {}
        memory: dict[tuple[str, ...], float] = {}
        agents = self._reconciler.agents
        for agent, found in sorted(self._found.items()):
            # There is no other look while none runs.
            if (known := agents.get(agent)) is None or not known.life.state.live:
                continue
            for kind in ProcessKind:
                those = [each for each in found if each.kind is kind]
                counts[agent, kind.value] = len(those)
                memory[agent, kind.value] = sum(each.memory_bytes for each in those)
        yield Family(PROCESSES, counts)
        yield Family(PROCESS_MEMORY, memory)

    async def _look(self) -> None:
        """Look once for all who ask meanwhile."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_now(), name="processes of agents")
        await asyncio.shield(self._looking)

    async def _look_now(self) -> None:
        try:
            trees = tuple(trees_of(self._reconciler))
            found = await self._worker.do(partial(self._looks.look, trees))
            self._runs = {tree.agent: tree.run_id for tree in trees}
            self._found, self._looked = found, self._reconciler.host.clock.now()
        finally:
            self._looking = None

    def _tell_growth(self) -> None:
        now, known, self._growth = self._reconciler.host.clock.now(), self._growth, {}
        for name, found in self._found.items():
            agent = self._reconciler.agents.get(name)
            if agent is None:
                continue
            sample = Sample(self._runs[name], now, len(found), sum(each.memory_bytes for each in found))
            self._growth[name], base = grown(known.get(name), sample, agent.life.policy.growth_notice)
            if base is not None:
                most = next(iter(by_command(found)))
                reason = (
                    f"{base.processes} processes with {about(base.memory_bytes)} have become {sample.processes} with "
                    f"{about(sample.memory_bytes)}; {most.command} has most: {about(most.memory_bytes)}"
                )
                data: dict[str, Detail] = {
                    "run": sample.run_id,
                    "processes": sample.processes,
                    "memory_bytes": sample.memory_bytes,
                }
                log.warning("processes_grew", agent=name, reason=reason, **data)
                agent.host.emit(Event(EventKind.PROCESSES_GREW, name, reason, data))

    async def _reap(self) -> None:
        for name, found in self._found.items():
            agent = self._reconciler.agents.get(name)
            if agent is not None and any(each.kind is ProcessKind.ORPHAN for each in found):
                await self._reap_of(agent, self._runs[name], found)

    async def _reap_of(self, agent: Agent, run_id: str, found: Sequence[AgentProcess]) -> None:
        after, host = agent.life.policy.reap, agent.host
        if after is None or not agent.life.state.live or agent.run_id != run_id:
            return
        if not reaps(after, host.watcher.shown(run_id), host.clock.wall()):
            return
        try:
            ended = await self._worker.do(partial(_end_orphans, run_id, found, after))
        except OSError as error:
            log.warning("orphans_not_ended", agent=agent.name, run=run_id, reason=error.strerror)
            return
        if ended:
            # Whoever asks next is not shown what is gone.
            self._looked = None
        for process, end in ended:
            signals = "SIGKILL" if end.killed else "SIGTERM"
            pid, command = process.identity.pid, process.command
            log.info("orphan_ended", agent=agent.name, run=run_id, pid=pid, command=command, signal=signals)
            reason = f"{command} had lost its parents, and the agent is idle"
            data: dict[str, Detail] = {"run": run_id, "pid": pid, "command": command, "signal": signals}
            host.emit(Event(EventKind.ORPHAN_ENDED, agent.name, reason, data))


def pause(shortest: float | None) -> float:
    """Seconds until the next look, where this is the shortest `reap` that is declared."""
    return EVERY if shortest is None else max(_SOONEST, min(EVERY, shortest * _SHARE))


def _end_orphans(run_id: str, found: Sequence[AgentProcess], idle: float) -> list[tuple[AgentProcess, EndedProcess]]:
    orphans = {each.identity: each for each in reapable(run_id, found, idle)}
    return [(orphans[end.process], end) for end in end_processes(run_id, list(orphans))]


def trees_of(reconciler: Reconciler) -> Iterator[Tree]:
    """Say where the processes of agents begin."""
    for name, agent in reconciler.agents.items():
        tree = agent.tree
        if tree is not None and tree.launcher is not None and agent.pane is not None:
            process = tree.agent if agent.life.state.live else None
            yield Tree(name, tree.run_id, tree.launcher.pid, None if process is None else process.pid)
