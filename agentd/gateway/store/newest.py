"""The newest ids of a database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select

from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import CONVERSATIONS, EVENTS, MESSAGES, RESPONSES, RUNS, SESSIONS

_LISTED: Final = (SESSIONS, MESSAGES, RUNS, RESPONSES, CONVERSATIONS)


async def newest_ids(connection: Connection) -> list[str]:
    """Give the newest id of each kind."""
    statements = [select(func.max(table.c.id)) for table in _LISTED]
    statements.append(select(EVENTS.c.id).order_by(EVENTS.c.cursor.desc()).limit(1))
    found = [(await connection.execute(statement)).scalar() for statement in statements]
    return [each for each in found if each is not None]
