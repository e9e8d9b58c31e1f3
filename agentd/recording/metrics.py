"""Answering /metrics: nothing is looked at, and nothing imported, before somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import thread_time

from agentd.recording.measures import CPU, MEMORY, SCAN, Counters, Family
from agentd.recording.usage import Tree, Usage, UsageMeter

LOOK_AFTER = 15.0
"""Seconds between two looks at the agents' processes, however often somebody asks."""

_EARLY = 0.5
"""Seconds by which a look may be early: else a scraper that comes every 15 s would see every second look only."""


@dataclass(frozen=True, slots=True)
class Standing:
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
    standing: Callable[[], Standing]
    _meter: UsageMeter = field(default_factory=UsageMeter)
    _usages: Mapping[str, Usage] = field(default_factory=dict)
    _looked: float | None = None
    _cost: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Those who ask at the same time share one look."""

    async def text(self, more: Sequence[Family] = ()) -> bytes:
        """Give all metrics, and those that only the caller knows, in Prometheus' text format."""
        async with self._lock:
            standing = self.standing()
            now = self.now()
            if self._looked is None or now - self._looked >= LOOK_AFTER - _EARLY:
                self._looked = now
                await asyncio.to_thread(self._look, standing)
            counted, used = self.counters.snapshot(standing.agents), self._used(standing.agents)
            families = [*more, *standing.families, *counted, *used]
            return await asyncio.to_thread(_exposition, families)

    def _look(self, standing: Standing) -> None:
        begun = thread_time()
        self._meter.forget(standing.agents)
        self._usages = self._meter.measure(standing.trees, standing.tmux)
        self._cost = thread_time() - begun

    def _used(self, agents: Sequence[str]) -> list[Family]:
        used = {(agent,): self._usages[agent] for agent in agents if agent in self._usages}
        return [
            Family(CPU, {labels: usage.cpu_seconds for labels, usage in used.items()}),
            Family(MEMORY, {labels: usage.memory_bytes for labels, usage in used.items()}),
            Family(SCAN, {(): self._cost}),
        ]


def _exposition(families: Sequence[Family]) -> bytes:
    from agentd.recording.exposition import exposition  # noqa: PLC0415 (50 ms and 1 MB that nobody else need pay)

    return exposition(families)
