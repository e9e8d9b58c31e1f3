"""What workers printed."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import TranscriptPage


async def transcript(
    pool: Pool, worker: str, offset: int | None = None, limit: int = 200, tail_lines: int | None = None
) -> TranscriptPage:
    """Read lines that a worker printed, as a person would read them, of its last run.

    Parameters
    ----------
    offset
        Number of the first line; ``None`` begins with the first, or with `tail_lines` that many before the last.

    Raises
    ------
    PoolError
        If there is no such worker.
    """
    raise NotImplementedError
