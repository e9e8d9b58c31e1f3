"""Which workers there are."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.model.states import AgentState
from agentd.pool.pool import Pool
from agentd.pool.results import WorkerList


async def workers(pool: Pool, states: Sequence[AgentState] = (), recent: int | None = None) -> WorkerList:
    """List workers, the newest first.

    Parameters
    ----------
    states
        Only in these states; none is all.
    recent
        At most so many.

    Raises
    ------
    PoolError
        If agentd does not answer.
    """
    raise NotImplementedError
