"""Responses of OpenAI's interface in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import RESPONSES

_T = RESPONSES.c


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response: the run that gives it, and what was asked for."""

    id: str
    run_id: str
    session_id: str
    owner: str | None
    created_at: float
    """Seconds since the epoch."""
    model: str
    harness: str
    background: bool
    stored: bool
    """Whether clients find it again."""
    alone: bool
    """Whether nothing can follow it, and its session is still open for it."""
    conversation_id: str | None
    asked: Mapping[str, object]
    """The parameters that the response shows again."""
    input: Sequence[dict[str, object]]
    """The items of the request."""
    unanswered: str | None = None
    """Of the request, until somebody has the answer."""


async def add(connection: Connection, new: StoredResponse) -> None:
    """Add a response."""
    await connection.execute(
        insert(RESPONSES).values(
            id=new.id,
            run_id=new.run_id,
            session_id=new.session_id,
            owner=new.owner,
            created_at=new.created_at,
            model=new.model,
            harness=new.harness,
            background=new.background,
            stored=new.stored,
            alone=new.alone,
            conversation_id=new.conversation_id,
            asked=dict(new.asked),
            input=[*new.input],
            unanswered=new.unanswered,
        )
    )


async def find(connection: Connection, response_id: str) -> StoredResponse | None:
    """Find a response."""
    found = (await connection.execute(select(RESPONSES).where(_T.id == response_id))).one_or_none()
    return None if found is None else _stored(found)


async def of_unanswered(connection: Connection, request: str) -> StoredResponse | None:
    """Find the newest response to a request that nobody has the answer of."""
    statement = select(RESPONSES).where(_T.unanswered == request).order_by(_T.id.desc()).limit(1)
    found = (await connection.execute(statement)).one_or_none()
    return None if found is None else _stored(found)


async def set_answered(connection: Connection, response_id: str) -> None:
    """Note that somebody has the answer."""
    await connection.execute(update(RESPONSES).where(_T.id == response_id).values(unanswered=None))


async def all_alone(connection: Connection) -> list[StoredResponse]:
    """List the responses whose sessions are open for nothing else."""
    return [_stored(row) for row in await connection.execute(select(RESPONSES).where(_T.alone.is_(True)))]


async def set_closed(connection: Connection, response_id: str) -> None:
    """Note that the session of a response that nothing can follow is closed."""
    await connection.execute(update(RESPONSES).where(_T.id == response_id).values(alone=False))


async def hide(connection: Connection, response_id: str) -> None:
    """Have clients not find a response any more."""
    await connection.execute(update(RESPONSES).where(_T.id == response_id).values(stored=False))


def _stored(row: Row[Any]) -> StoredResponse:
    return StoredResponse(
        id=row.id,
        run_id=row.run_id,
        session_id=row.session_id,
        owner=row.owner,
        created_at=row.created_at,
        model=row.model,
        harness=row.harness,
        background=row.background,
        stored=row.stored,
        alone=row.alone,
        conversation_id=row.conversation_id,
        asked=row.asked,
        input=row.input,
        unanswered=row.unanswered,
    )
