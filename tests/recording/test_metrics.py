"""When the processes are looked at, and who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agentd.process.usage import Tree, Usage, UsageMeter
from agentd.recording.metrics.answer import LOOK_AFTER, STALE_AFTER, Metrics, Readings
from agentd.recording.metrics.measures import Counters


@dataclass(slots=True)
class _CountingMeter(UsageMeter):
    """Says which look it was."""

    looks: int = 0
    seen: list[float] = field(default_factory=list)

    def measure(self, trees: object, server: int) -> dict[str, Usage]:  # noqa: ARG002
        self.looks += 1
        return {"a": Usage(float(self.looks), 0)}


def cpu(text: bytes) -> float:
    lines = (line.split() for line in text.decode().splitlines())
    return next(float(words[1]) for words in lines if words[0] == 'agentd_agent_cpu_seconds_total{agent="a"}')


async def test_a_look_is_taken_now_and_then_and_only_waited_for_when_the_last_is_old() -> None:
    moment = 1000.0
    meter = _CountingMeter()
    readings = Readings((), ["a"], [Tree("a", "r", 1)], 1)
    metrics = Metrics(Counters(lambda: moment), lambda: moment, lambda: readings, meter)
    # The first one is waited for; those who ask together share it.
    assert [cpu(text) for text in await asyncio.gather(*(metrics.text() for _ in range(5)))] == [1.0] * 5
    for seconds, shown, looks in (
        (LOOK_AFTER - 1, 1, 1),
        (1, 1, 2),  # shown at once is what is known; what is on its way, the next one is shown
        (LOOK_AFTER, 2, 3),
        (STALE_AFTER, 4, 4),
    ):
        moment += seconds
        assert cpu(await metrics.text()) == shown
        await metrics.close()
        assert meter.looks == looks
    assert cpu(await metrics.text()) == 4
