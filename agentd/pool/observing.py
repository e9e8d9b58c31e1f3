"""Waiting for what happens to workers."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from agentd.model.pool import WorkerEvent
from agentd.pool.pool import Pool
from agentd.pool.results import Observation


class Detail(StrEnum):
    """How much of what a worker said and printed is told."""

    SUMMARY = "summary"
    """At most 1 KB in all."""
    EXCERPT = "excerpt"
    """The answer up to 4 KB, and its last 20 lines."""
    FULL = "full"
    """The whole answer, and its last 200 lines."""


DEFAULT_EVENTS: Final = (
    WorkerEvent.COMPLETED,
    WorkerEvent.ERROR,
    WorkerEvent.QUESTION,
    WorkerEvent.APPROVAL,
    WorkerEvent.USAGE_LIMIT,
    WorkerEvent.EXITED,
)


async def observe(
    pool: Pool,
    workers: Sequence[str],
    wanted: Sequence[WorkerEvent] = DEFAULT_EVENTS,
    *,
    patience: float | None = None,
    detail: Detail = Detail.SUMMARY,
    cursor: str | None = None,
) -> Observation:
    """Wait until the first of some events happens to one of some workers; at once if it is so already.

    Cancelling it ends the wait.

    Parameters
    ----------
    patience
        Seconds; ``None`` waits for ever, 0 looks once.
    cursor
        What an earlier answer gave: only what happened after that counts.

    Raises
    ------
    PoolError
        If there is no such worker, or agentd does not answer.
    """
    raise NotImplementedError
