"""Answering /metrics: nothing is looked at before somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import thread_time

import structlog

from agentd.process.usage import Tree, Usage, UsageMeter
from agentd.recording.metrics.exposition import exposition, to_write
from agentd.recording.metrics.measures import CPU, MEMORY, SCAN, Counters, Family

log = structlog.get_logger(__name__)

LOOK_AFTER = 15.0
"""Seconds between two looks at the agents' processes, however often somebody asks."""

STALE_AFTER = 90.0
"""Seconds after which a look is too old to be shown: who asks then waits for another one. Who asks more often is shown
the last one at once, while another is on its way: a look at 2000 processes takes 40 ms."""

_WRITTEN_AT_ONCE = 200
"""Values that are written without a thread: 1.5 ms."""

_EARLY = 0.5
"""Seconds by which a look may be early: else a scraper that comes every 15 s would see every second look only."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What there is to measure at one moment."""

    families: Sequence[Family]
    agents: Sequence[str]
    """Names of all agents."""
    trees: Sequence[Tree]
    """Of those that have processes."""
    tmux: int
    """Pid of the tmux server."""


@dataclass(slots=True)
class Metrics:
    """What /metrics shows."""

    counters: Counters
    now: Callable[[], float]
    """Gives monotonic seconds."""
    read: Callable[[], Readings]
    _meter: UsageMeter = field(default_factory=UsageMeter)
    _usages: Mapping[str, Usage] = field(default_factory=dict)
    _looked: float | None = None
    _cost: float = 0.0
    _looking: asyncio.Task[None] | None = None

    async def families(self) -> Sequence[Family]:
        """Give all metrics but those that only a caller knows."""
        age = float("inf") if self._looked is None else self.now() - self._looked
        if self._looking is None and age >= LOOK_AFTER - _EARLY:
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="usage")
        if self._looking is not None and age >= STALE_AFTER:
            await asyncio.wait([self._looking])
        readings = self.read()
        return [*readings.families, *self.counters.snapshot(readings.agents), *self._used(readings.agents)]

    async def text(self, more: Sequence[Family] = ()) -> bytes:
        """Give all metrics, and those that only the caller knows, in Prometheus' text format."""
        families = [*more, *await self.families()]
        if to_write(families) <= _WRITTEN_AT_ONCE:
            # On a busy machine a thread gets its turn 10 ms later than this is done.
            return exposition(families)
        return await asyncio.to_thread(exposition, families)

    async def _look(self) -> None:
        begun = self.now()
        try:
            self._usages, self._cost = await asyncio.to_thread(self._measure, self.read())
            self._looked = begun
        except OSError as error:
            log.warning("usage_unknown", reason=str(error))
        finally:
            self._looking = None

    def _measure(self, readings: Readings) -> tuple[Mapping[str, Usage], float]:
        begun = thread_time()
        self._meter.forget(readings.agents)
        return self._meter.measure(readings.trees, readings.tmux), thread_time() - begun

    async def close(self) -> None:
        """Wait for a look under way."""
        if self._looking is not None:
            await asyncio.wait([self._looking])

    def _used(self, agents: Sequence[str]) -> list[Family]:
        used = {(agent,): self._usages[agent] for agent in agents if agent in self._usages}
        return [
            Family(CPU, {labels: usage.cpu_seconds for labels, usage in used.items()}),
            Family(MEMORY, {labels: usage.memory_bytes for labels, usage in used.items()}),
            Family(SCAN, {(): self._cost}),
        ]
