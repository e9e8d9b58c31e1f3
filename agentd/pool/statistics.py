"""What workers did, from the journal."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import Stats


async def stats(pool: Pool, since: float | None = None, until: float | None = None, by: str = "provider") -> Stats:
    """Sum up what workers did.

    Parameters
    ----------
    since, until
        Seconds since the epoch; ``None`` is everything that is kept, and now.
    by
        ``provider``, ``role`` or ``agent``.

    Raises
    ------
    PoolError
        If agentd does not answer.
    """
    raise NotImplementedError
