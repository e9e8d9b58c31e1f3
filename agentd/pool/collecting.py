"""Collecting a worker's work."""

from __future__ import annotations

from pathlib import Path

from agentd.pool.pool import Pool
from agentd.pool.results import ArtifactPage, Collection


async def collect(pool: Pool, worker: str, output: Path | None = None) -> Collection:
    """Write a worker's work into a new folder.

    Parameters
    ----------
    output
        The folder, which must not exist; ``None`` makes one below the state directory.

    Raises
    ------
    PoolError
        If there is no such worker, or something cannot be read or written.
    """
    raise NotImplementedError


async def artifacts(pool: Pool, worker: str, offset: int = 0, limit: int = 100) -> ArtifactPage:
    """List the files that a worker made or changed; raises as `collect`."""
    raise NotImplementedError
