"""Which queued runs may start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued run."""

    run_id: str
    target: str
    """The agent that it talks to: never two at once."""


@dataclass(frozen=True, slots=True)
class Working:
    """A run that an agent is at."""

    target: str
    worker: int | None
    """Number of the worker that has it."""


@dataclass(frozen=True, slots=True)
class Start:
    """A run that may start."""

    run_id: str
    worker: int


def startable(queue: Iterable[Waiting], working: Iterable[Working], workers: int) -> list[Start]:
    """Say which queued runs may start now, and with which worker.

    The first in the queue is the first to start; one whose agent is busy waits without holding up those behind it.

    Parameters
    ----------
    queue
        In its order.
    working
        All runs that agents are at.
    workers
        How many runs there may be at work at once.
    """
    working = [*working]
    busy = {each.target for each in working}
    taken = {each.worker for each in working}
    free = [worker for worker in range(1, workers + 1) if worker not in taken]
    # More may be at work than there are workers now, by a former configuration.
    free = free[: max(0, workers - len(working))]
    starts: list[Start] = []
    for waiting in queue:
        if not free:
            break
        if waiting.target not in busy:
            busy.add(waiting.target)
            starts.append(Start(waiting.run_id, free.pop(0)))
    return starts
