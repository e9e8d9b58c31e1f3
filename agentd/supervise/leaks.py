"""When what an agent leaves running is told, and when it is ended: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.model.states import Activity
from agentd.supervise.run_watcher import WatchedRun

TOLD_EVERY: Final = 3600.0
"""Seconds between two events on the growth of one agent."""

MOST_PROCESSES: Final = 64
"""Processes more than at the fewest that are growth, too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What an agent's processes were at a moment."""

    run_id: str
    at: float
    """Monotonic, in seconds."""
    processes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What growth is measured from."""

    lowest: Sample
    """The least of both, of a run, since growth was last told."""
    told: float | None = None
    """When that was, monotonic."""


def grown(before: Growth | None, now: Sample, threshold: int | None) -> tuple[Growth, Sample | None]:
    """Take a sample; gives also what the agent has grown from if that is to be told.

    Parameters
    ----------
    threshold
        Bytes; ``None`` tells nothing.
    """
    told = None if before is None else before.told
    if before is None or before.lowest.run_id != now.run_id:
        return Growth(now, told), None
    base = before.lowest
    lowest = Sample(now.run_id, base.at, min(base.processes, now.processes), min(base.memory_bytes, now.memory_bytes))
    more = now.memory_bytes - lowest.memory_bytes, now.processes - lowest.processes
    if threshold is None or (more[0] < threshold and more[1] < MOST_PROCESSES):
        return Growth(lowest, told), None
    if told is not None and now.at - told < TOLD_EVERY:
        return Growth(lowest, told), None
    return Growth(now, now.at), lowest


def reaps(after: float | None, shown: WatchedRun | None, wall: float) -> bool:
    """Whether the orphans of an agent are to be ended: it has had no turn, and asked nothing, for long enough.

    Parameters
    ----------
    after
        Seconds; ``None``: never.
    wall
        Seconds since the epoch.
    """
    if after is None or shown is None:
        return False
    idle = shown.activity is Activity.IDLE or (shown.activity is Activity.WORKING and shown.background)
    return idle and wall - shown.since >= after
