"""Which workers there are."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.model.pool import OWNER
from agentd.model.states import AgentState
from agentd.pool.around import look_around
from agentd.pool.pool import Pool
from agentd.pool.results.workers import WorkerList
from agentd.pool.statuses import shown, statuses


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
    around, known = await look_around(pool), await statuses(pool)
    names = {*around.workers, *(name for name, status in known.items() if status.text("owner") == OWNER)}
    found = [shown(around.workers.get(name), known.get(name)) for name in names]
    wanted = [each for each in found if not states or each.state in states]
    wanted.sort(key=lambda each: (each.spawned_at or "", each.id), reverse=True)
    return WorkerList(wanted if recent is None else wanted[:recent], len(wanted))
