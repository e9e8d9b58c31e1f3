"""Leases: who works on which paths. Advisory."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import Lease, LeaseList, Released


async def acquire_lease(
    pool: Pool, path: str, mode: str, *, repo: str | None = None, owner: str | None = None, ttl: float | None = None
) -> Lease:
    """Take a lease; readers share a path, a writer has it alone, with what is below and above it.

    Parameters
    ----------
    mode
        ``read`` or ``write``.
    repo
        The repository that the path is in; ``None`` is that of the path.
    owner
        Who holds it; ``None`` is the caller. A lease of an agent ends with the agent.
    ttl
        Seconds after which it ends; ``None`` is when its owner does.

    Raises
    ------
    PoolError
        If somebody else holds one that excludes it, or the path is not in the repository.
    """
    raise NotImplementedError


async def list_leases(pool: Pool, repo: str | None = None) -> LeaseList:
    """List the leases of a repository; ``None`` is all."""
    raise NotImplementedError


async def release_lease(pool: Pool, path: str, *, repo: str | None = None, owner: str | None = None) -> Released:
    """Give up the leases of an owner on a path.

    Raises
    ------
    PoolError
        If there are none.
    """
    raise NotImplementedError
