"""A round trip with each harness."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import SmokeReport


async def smoke(pool: Pool, provider: str | None = None, patience: float = 120.0) -> SmokeReport:
    """Spawn a worker of each provider that is installed, have it answer, and end it.

    Raises
    ------
    PoolError
        If there is no such provider, or agentd does not answer.
    """
    raise NotImplementedError
