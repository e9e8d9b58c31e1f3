"""Events in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, delete, func, insert, select

from agentd.gateway.ids import new_id
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Event, EventType, Json
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.database import Writer
from agentd.gateway.store.schema import EVENTS

_T = EVENTS.c


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be stored."""

    session_id: str
    owner: str | None
    """Of the session."""
    type: EventType
    data: Mapping[str, Json] = field(default_factory=dict)
    run_id: str | None = None


async def add(writer: Writer, new: Sequence[NewEvent], now: float) -> list[Event]:
    """Store events, in this order; they are told to followers once the transaction is committed."""
    if not new:
        return []
    ids = [new_id("evt", now) for _ in new]
    rows = [
        {
            "id": event_id,
            "session_id": each.session_id,
            "run_id": each.run_id,
            "owner": each.owner,
            "event_type": each.type.value,
            "data": dict(each.data),
            "created_at": now,
        }
        for event_id, each in zip(ids, new, strict=True)
    ]
    statement = insert(EVENTS).returning(_T.cursor, sort_by_parameter_order=True)
    cursors = (await writer.connection.execute(statement, rows)).scalars().all()
    events = [
        Event(cursor, event_id, each.session_id, each.run_id, each.type, each.data, now)
        for cursor, event_id, each in zip(cursors, ids, new, strict=True)
    ]
    writer.events += zip(events, (each.owner for each in new), strict=True)
    return events


async def after(connection: Connection, session_id: str, cursor: int, limit: int) -> list[Event]:
    """List events of a session after a cursor."""
    statement = select(EVENTS).where(_T.session_id == session_id, _T.cursor > cursor).order_by(_T.cursor).limit(limit)
    return [event_of(row) for row in await connection.execute(statement)]


async def after_of_all(connection: Connection, caller: Caller, cursor: int, limit: int) -> list[Event]:
    """List events of all sessions that a caller sees, after a cursor."""
    statement = select(EVENTS).where(_T.cursor > cursor).order_by(_T.cursor).limit(limit)
    if not caller.sees_all:
        statement = statement.where(_T.owner == caller.user)
    return [event_of(row) for row in await connection.execute(statement)]


async def of_run(connection: Connection, run_id: str, kind: EventType | None = None) -> list[Event]:
    """List the events of a run, or those of one kind."""
    statement = select(EVENTS).where(_T.run_id == run_id).order_by(_T.cursor)
    if kind is not None:
        statement = statement.where(_T.event_type == kind.value)
    return [event_of(row) for row in await connection.execute(statement)]


async def last_of_run(connection: Connection, run_id: str) -> Event | None:
    """Find the newest event of a run."""
    statement = select(EVENTS).where(_T.run_id == run_id).order_by(_T.cursor.desc()).limit(1)
    found = (await connection.execute(statement)).one_or_none()
    return None if found is None else event_of(found)


async def last_cursor(connection: Connection) -> int:
    """Give the cursor of the newest event; 0 if there is none."""
    return (await connection.execute(select(func.max(_T.cursor)))).scalar() or 0


async def remove_before(connection: Connection, time: float, limit: int, keep: Sequence[str]) -> int:
    """Remove events from before a time, but those of some runs; returns how many."""
    old = (
        select(_T.cursor).where(_T.created_at < time, (_T.run_id.is_(None)) | (_T.run_id.not_in([*keep]))).limit(limit)
    )
    return (await connection.execute(delete(EVENTS).where(_T.cursor.in_(old)))).rowcount


def event_of(row: Row[Any]) -> Event:
    """Give the event of a row."""
    return Event(row.cursor, row.id, row.session_id, row.run_id, EventType(row.event_type), row.data, row.created_at)
