"""Removing sessions with all that is theirs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import (
    ALLOWANCES,
    CHANNEL_MESSAGES,
    CHANNEL_SESSIONS,
    EVENTS,
    MESSAGES,
    REQUESTS,
    RESPONSES,
    RUNS,
    SESSIONS,
)


async def remove_sessions(connection: Connection, session_ids: Sequence[str]) -> None:
    """Remove sessions, their runs, responses, messages and events."""
    runs = select(RUNS.c.id).where(RUNS.c.session_id.in_(session_ids))
    await connection.execute(delete(REQUESTS).where(REQUESTS.c.run_id.in_(runs)))
    for table in (ALLOWANCES, CHANNEL_MESSAGES, CHANNEL_SESSIONS, EVENTS, MESSAGES, RESPONSES, RUNS):
        await connection.execute(delete(table).where(table.c.session_id.in_(session_ids)))
    await connection.execute(delete(SESSIONS).where(SESSIONS.c.id.in_(session_ids)))
