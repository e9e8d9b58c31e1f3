"""What agents ask for, in the database, and what was allowed for good."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import ALLOWANCES, REQUESTS

_T = REQUESTS.c


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, as agentd takes it."""

    decision: str
    """``allow``, ``deny`` or ``answer``."""
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """A permission or an answer that an agent wants in a run."""

    run_id: str
    id: str
    kind: str
    """``permission`` or ``question``."""
    name: str
    text: str
    asked_at: float
    decision: str | None = None
    """``None`` while nobody decided."""
    answer: Answer | None = None
    """What was decided, and has to be passed on."""


async def ask(connection: Connection, request: Request) -> bool:
    """Add a request; says whether it is a new one."""
    if await find(connection, request.run_id, request.id) is not None:
        return False
    await connection.execute(
        insert(REQUESTS).values(
            run_id=request.run_id,
            request_id=request.id,
            kind=request.kind,
            name=request.name,
            text=request.text,
            asked_at=request.asked_at,
        )
    )
    return True


async def decide(connection: Connection, run_id: str, request_id: str, decision: str) -> bool:
    """Note how a request was decided; says whether it was open."""
    statement = update(REQUESTS).where(_T.run_id == run_id, _T.request_id == request_id, _T.decision.is_(None))
    return (await connection.execute(statement.values(decision=decision))).rowcount > 0


async def set_answer(connection: Connection, run_id: str, request_id: str, answer: Answer) -> None:
    """Keep an answer that has to be passed on."""
    statement = update(REQUESTS).where(_T.run_id == run_id, _T.request_id == request_id)
    await connection.execute(statement.values(answer=asdict(answer)))


async def expire(connection: Connection, run_id: str) -> None:
    """Note that nobody decided what a run still asks for."""
    await connection.execute(
        update(REQUESTS).where(_T.run_id == run_id, _T.decision.is_(None)).values(decision="expired")
    )


async def find(connection: Connection, run_id: str, request_id: str) -> Request | None:
    """Find a request."""
    statement = select(REQUESTS).where(_T.run_id == run_id, _T.request_id == request_id)
    found = (await connection.execute(statement)).one_or_none()
    return None if found is None else _request(found)


async def waiting(connection: Connection, run_id: str) -> list[Request]:
    """List the requests of a run that nobody decided, the oldest first."""
    statement = select(REQUESTS).where(_T.run_id == run_id, _T.decision.is_(None)).order_by(_T.asked_at)
    return [_request(row) for row in await connection.execute(statement)]


async def undecided(connection: Connection, request_id: str) -> list[str]:
    """List the runs that have a request of this id which nobody decided."""
    statement = select(_T.run_id).where(_T.request_id == request_id, _T.decision.is_(None))
    return [*(await connection.execute(statement)).scalars()]


async def allow_always(connection: Connection, session_id: str, name: str, text: str) -> None:
    """Allow a tool this very thing in a session, from now on."""
    if not await is_allowed(connection, session_id, name, text):
        await connection.execute(insert(ALLOWANCES).values(session_id=session_id, digest=_digest(name, text)))


async def is_allowed(connection: Connection, session_id: str, name: str, text: str) -> bool:
    """Whether a tool was allowed this very thing for good."""
    statement = select(ALLOWANCES.c.digest).where(
        ALLOWANCES.c.session_id == session_id, ALLOWANCES.c.digest == _digest(name, text)
    )
    return (await connection.execute(statement)).first() is not None


def _digest(name: str, text: str) -> str:
    return hashlib.sha256(json.dumps([name, text]).encode()).hexdigest()


def _request(row: Row[Any]) -> Request:
    answer = None if row.answer is None else Answer(**row.answer)
    return Request(row.run_id, row.request_id, row.kind, row.name, row.text, row.asked_at, row.decision, answer)
