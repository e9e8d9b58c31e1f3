"""Talking to workers."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from http import HTTPStatus
from typing import TypeVar

from agentd.api.client.socket import RefusedError, UnreachableError
from agentd.pool.errors import Code, PoolError
from agentd.pool.pool import Pool, unreachable
from agentd.pool.results.workers import Answered, Interrupted, Sent
from agentd.pool.statuses import Status, worker_status

T = TypeVar("T")

DECISIONS = ("allow", "deny", "answer")


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
    status = await _running(pool, worker)
    name = status.name
    given = message or f"pool-{uuid.uuid4().hex}"
    line = await _talk(pool.turns.deliver(name, given, text), name)
    next_ = f"agentctl observe {name}"
    return Sent(name, given, str(line.get("status")), next_)


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
    if decision not in DECISIONS:
        message = f"decision: found {decision!r}, expected one of {', '.join(DECISIONS)}"
        raise PoolError(Code.INVALID_ARGUMENT, message, f"agentctl answer {worker} allow")
    name = (await _running(pool, worker)).name
    conversation = await _talk(pool.turns.conversation(name), name)
    waiting = conversation.get("requests") if conversation is not None else None
    if not waiting:
        raise PoolError(Code.NOTHING_ASKED, f"{name} asks nothing now", f"agentctl observe {name}", worker=name)
    shown = await _talk(pool.turns.decide(name, request, decision, text), name)
    left = shown.get("requests")
    return Answered(name, decision, len(left) if isinstance(left, list) else 0, f"agentctl observe {name}")


async def require_keys_allowed(pool: Pool, worker: str) -> None:
    """Check that keys may be pressed in a worker's terminal.

    Raises
    ------
    PoolError
        If the policy ``allow_keys`` does not say so.
    """
    # Only here the files are read: that costs 50 ms.
    from agentd.pool.around import look_around  # noqa: PLC0415

    if not (await look_around(pool)).policies.allow_keys:
        raise PoolError(
            Code.POLICY,
            "refused by the policy allow_keys of [pool]: keys answer anything; it passes once that is true",
            f"agentctl answer {worker} allow|deny",
            policy="allow_keys",
        )


async def interrupt(pool: Pool, worker: str) -> Interrupted:
    """Interrupt a worker's turn, if one is under way.

    Raises
    ------
    PoolError
        If there is no such worker, or it is not running.
    """
    name = (await _running(pool, worker)).name
    interrupted = await _talk(pool.turns.interrupt(name), name)
    return Interrupted(name, interrupted, f"agentctl observe {name} --for idle,exited")


async def _running(pool: Pool, worker: str) -> Status:
    status = await worker_status(pool, worker)
    if status.ended:
        exit_ = status.exit
        how = "" if exit_ is None else f", exit code {exit_.code}, signal {exit_.signal}"
        raise PoolError(
            Code.NOT_RUNNING,
            f"{status.name} has ended ({status.state}{how}): it takes nothing any more",
            f"agentctl collect {status.name}",
            worker=status.name,
            state=status.state.value,
        )
    return status


async def _talk(asking: Awaitable[T], name: str) -> T:
    try:
        return await asking
    except UnreachableError as error:
        raise unreachable(error) from error
    except RefusedError as error:
        forbidden = error.status == HTTPStatus.FORBIDDEN
        code = Code.NOT_PERMITTED if forbidden else Code.NOT_SUPPORTED if _never(str(error)) else Code.CONFLICT
        raise PoolError(code, f"{name}: {error}", f"agentctl observe {name} --timeout 0s", worker=name) from error


def _never(reason: str) -> bool:
    """Whether agentd says that this agent never takes messages."""
    return any(each in reason for each in ("sandboxed", "answers its prompt", "turns = false"))
