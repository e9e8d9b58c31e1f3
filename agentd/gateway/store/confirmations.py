"""Tools that have to be confirmed, in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from agentd.gateway.model.managed import Confirmation, Decider
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import CONFIRMATIONS

_T = CONFIRMATIONS.c


async def add(connection: Connection, asked: Confirmation) -> None:
    """Add one that waits."""
    await connection.execute(
        insert(CONFIRMATIONS).values(
            id=asked.id,
            agent=asked.agent,
            username=asked.username,
            session_id=asked.session_id,
            target=asked.target,
            request=asked.request,
            server_name=asked.server_name,
            tool_name=asked.tool_name,
            arguments=dict(asked.arguments),
            tool=asked.tool,
            timeout_ms=asked.timeout_ms,
            default_answer=asked.default,
            asked_at=asked.asked_at,
            gone=asked.gone,
        )
    )


async def find(connection: Connection, request_id: str) -> Confirmation | None:
    """Find one."""
    found = (await connection.execute(select(CONFIRMATIONS).where(_T.id == request_id))).one_or_none()
    return None if found is None else _confirmation(found)


async def change(connection: Connection, request_id: str, **values: object) -> None:
    """Change columns of one."""
    await connection.execute(update(CONFIRMATIONS).where(_T.id == request_id).values(values))


async def undecided(connection: Connection, agent: str | None = None) -> list[Confirmation]:
    """List those that did not end yet, of all managed agents or one, the oldest first."""
    statement = select(CONFIRMATIONS).where(_T.confirmed.is_(None)).order_by(_T.asked_at)
    if agent is not None:
        statement = statement.where(_T.agent == agent)
    return [_confirmation(row) for row in await connection.execute(statement)]


async def remove_of(connection: Connection, agent: str) -> None:
    """Forget all of a managed agent."""
    await connection.execute(delete(CONFIRMATIONS).where(_T.agent == agent))


async def remove_before(connection: Connection, time: float) -> None:
    """Forget those that ended, and were asked before a time."""
    await connection.execute(delete(CONFIRMATIONS).where(_T.confirmed.is_not(None), _T.asked_at < time))


def _confirmation(row: Row[Any]) -> Confirmation:
    return Confirmation(
        id=row.id,
        agent=row.agent,
        username=row.username,
        session_id=row.session_id,
        target=row.target,
        request=row.request,
        server_name=row.server_name,
        tool_name=row.tool_name,
        arguments=row.arguments,
        tool=row.tool,
        timeout_ms=row.timeout_ms,
        default=row.default_answer,
        asked_at=row.asked_at,
        answer=row.answer,
        decided_by=None if row.decided_by is None else Decider(row.decided_by),
        confirmed=row.confirmed,
        decided_at=row.decided_at,
        gone=row.gone,
    )
