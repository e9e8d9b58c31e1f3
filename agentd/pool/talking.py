"""Talking to workers."""

from __future__ import annotations

from agentd.pool.pool import Pool
from agentd.pool.results import Answered, Interrupted, Sent


async def send(pool: Pool, worker: str, text: str, message: str | None = None) -> Sent:
    """Send a message, which is delivered when it is the user's move.

    Parameters
    ----------
    message
        Its id: sent again with it, it is the same message. ``None`` makes one.

    Raises
    ------
    PoolError
        If there is no such worker, or it takes no messages.
    """
    raise NotImplementedError


async def answer(pool: Pool, worker: str, decision: str, text: str = "", request: str | None = None) -> Answered:
    """Decide what a worker asks.

    Parameters
    ----------
    decision
        ``allow``, ``deny``, or ``answer`` with the text.
    request
        Which of several; ``None`` is the only one.

    Raises
    ------
    PoolError
        If there is no such worker, it asks nothing, or several things.
    """
    raise NotImplementedError


async def interrupt(pool: Pool, worker: str) -> Interrupted:
    """Interrupt a worker's turn.

    Raises
    ------
    PoolError
        If there is no such worker, or it is not running.
    """
    raise NotImplementedError
