"""Declaring a worker."""

from __future__ import annotations

from dataclasses import dataclass

from agentd.model.pool import WorkerIsolation
from agentd.pool.pool import Pool
from agentd.pool.results import Spawned


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """What a worker is to do, where, and by whom."""

    provider: str
    task: str
    repo: str
    """A folder; relative to the caller's."""
    isolation: WorkerIsolation = WorkerIsolation.NONE
    role: str | None = None
    model: str | None = None
    reasoning_effort: str | None = None
    max_runtime: float | None = None
    """Seconds."""
    max_turns: int | None = None
    allowed_paths: tuple[str, ...] = ()
    """Paths in the repository that it is to change; what else it changed is told when its work is collected."""
    parent: str | None = None
    """``None``: the pool's."""


async def spawn(pool: Pool, request: SpawnRequest) -> Spawned:
    """Declare a worker, which agentd launches.

    Raises
    ------
    PoolError
        If something of the request cannot be used, or a policy forbids it; then nothing was made.
    """
    raise NotImplementedError
