"""Messages in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select

from agentd.gateway.model.objects import Message, RequestKind, Role
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import MESSAGES

_T = MESSAGES.c


async def add(connection: Connection, message: Message) -> None:
    """Add a message."""
    await connection.execute(
        insert(MESSAGES).values(
            id=message.id,
            session_id=message.session_id,
            run_id=message.run_id,
            role=message.role.value,
            text=message.text,
            request_kind=None if message.request_kind is None else message.request_kind.value,
            created_at=message.created_at,
        )
    )


async def find(connection: Connection, message_id: str) -> Message | None:
    """Find a message."""
    found = (await connection.execute(select(MESSAGES).where(_T.id == message_id))).one_or_none()
    return None if found is None else _message(found)


def _message(row: Row[Any]) -> Message:
    return Message(
        id=row.id,
        session_id=row.session_id,
        run_id=row.run_id,
        role=Role(row.role),
        text=row.text,
        request_kind=None if row.request_kind is None else RequestKind(row.request_kind),
        created_at=row.created_at,
    )
