"""Calls of adapters, each within a limit of time: whatever one raises costs its own run's activity."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from agentd.turns.activity import line
from agentd.turns.adapter import TurnsError
from agentd.turns.conversation import Request

CALL_LIMIT: Final = 5.0
"""Seconds for one call of an adapter; holding a hook is none."""

T = TypeVar("T")


async def within(call: Awaitable[T], limit: float, agent: str, failed: Callable[[BaseException], None]) -> T:
    """Await a call of an agent's adapter.

    Parameters
    ----------
    failed
        Told what it raised that is no `TurnsError`.

    Raises
    ------
    TurnsError
        If it says so, takes too long or fails.
    """
    try:
        async with asyncio.timeout(limit):
            return await call
    except TurnsError:
        raise
    except TimeoutError:
        raise TurnsError(f"the harness of {agent} did not take it within {limit:g} s") from None
    except Exception as error:
        failed(error)
        raise TurnsError(f"the harness of {agent} cannot be asked: {error}") from error


def meant(agent: str, waiting: Sequence[Request], request: str | None) -> Request:
    """The request of an agent that an answer is for; with no id the only one there is.

    Raises
    ------
    TurnsError
        If there is none, or there are several and none is named.
    """
    if request is None and len(waiting) > 1:
        shown = ", ".join(f"{each.id} ({line(each.text)})" for each in waiting)
        raise TurnsError(f"{agent} waits for {len(waiting)} answers: say which, of {shown}")
    found = next((each for each in waiting if request is None or each.id == request), None)
    if found is None:
        raise TurnsError(
            f"{agent} waits for no answer that can be given here; see agentctl screen {agent}"
            if request is None
            else f"the request {request} of {agent} is decided already, or never was"
        )
    return found
