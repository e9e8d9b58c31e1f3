"""Ending workers."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import Termination


async def terminate(pool: Pool, worker: str, *, dry_run: bool = False) -> Termination:
    """Have a worker stopped within its grace period, and declared no more; a worktree with work stays.

    Raises
    ------
    PoolError
        If there is no such worker, or its drop-in cannot be removed.
    """
    raise NotImplementedError
