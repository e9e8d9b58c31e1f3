"""What came by channels, and how far their answers are sent, in the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from agentd.gateway.model.channels import CONFIRMATIONS, RELEVANT, Origin
from agentd.gateway.model.objects import Event, Json
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.events import event_of
from agentd.gateway.store.schema import CHANNEL_MESSAGES, CHANNEL_SESSIONS, CHANNELS, EVENTS

_M = CHANNEL_MESSAGES.c
_S = CHANNEL_SESSIONS.c


def conversation(channel_id: Json) -> str:
    """Name the conversation of a channel's id: ids of any length and type are told apart."""
    return "" if channel_id is None else hashlib.sha256(json.dumps(channel_id).encode()).hexdigest()


async def bind(connection: Connection, channel: str, channel_id: Json, session_id: str) -> None:
    """Have a session be a conversation of a channel, in the place of the one before."""
    name = conversation(channel_id)
    values = {"channel": channel, "session_id": session_id, "conversation": name, "newest": True}
    before = _S.channel == channel, _S.conversation == name, _S.newest.is_(True)
    await connection.execute(update(CHANNEL_SESSIONS).where(*before).values(newest=False))
    await connection.execute(insert(CHANNEL_SESSIONS).values(values))


async def session_of(connection: Connection, channel: str, channel_id: Json) -> str | None:
    """Find the session of a conversation."""
    wanted = _S.channel == channel, _S.conversation == conversation(channel_id), _S.newest.is_(True)
    found: str | None = (await connection.execute(select(_S.session_id).where(*wanted))).scalar()
    return found


async def sessions_of(connection: Connection, channel: str) -> set[str]:
    """List the sessions of a channel."""
    return {*(await connection.execute(select(_S.session_id).where(_S.channel == channel))).scalars()}


async def add(connection: Connection, channel: str, message_id: str, session_id: str, origin: Origin) -> None:
    """Note that a message was taken; `created_at` is that of its run, by its id."""
    await connection.execute(
        insert(CHANNEL_MESSAGES).values(
            channel=channel,
            message_id=message_id,
            run_id=origin.run_id,
            session_id=session_id,
            in_reply_to=origin.in_reply_to,
            channel_id=origin.channel_id,
            metadata=origin.metadata,
        )
    )


async def is_known(connection: Connection, channel: str, message_id: str) -> bool:
    """Whether a message was taken."""
    statement = select(_M.run_id).where(_M.channel == channel, _M.message_id == message_id)
    return (await connection.execute(statement)).first() is not None


async def run_of(connection: Connection, channel: str, message_id: str) -> str | None:
    """Find the run of a message."""
    statement = select(_M.run_id).where(_M.channel == channel, _M.message_id == message_id)
    found: str | None = (await connection.execute(statement)).scalar()
    return found


async def forget(connection: Connection, channel: str, message_id: str) -> None:
    """Forget that a message was taken: somebody else has it."""
    await connection.execute(delete(CHANNEL_MESSAGES).where(_M.channel == channel, _M.message_id == message_id))


async def origins(connection: Connection, channel: str, runs: Sequence[str]) -> dict[str, Origin]:
    """Find where runs came from, by run; those that did not come by this channel are missing."""
    statement = select(CHANNEL_MESSAGES).where(_M.channel == channel, _M.run_id.in_(runs))
    return {row.run_id: _origin(row) for row in await connection.execute(statement)}


async def channel_of(connection: Connection, run_id: str) -> str | None:
    """Name the channel by which a run came."""
    found: str | None = (await connection.execute(select(_M.channel).where(_M.run_id == run_id).limit(1))).scalar()
    return found


async def events_after(
    connection: Connection, channel: str, cursor: int, limit: int, managed: str | None
) -> list[Event]:
    """List what happened in the sessions of a channel after a cursor, as far as it is told there.

    Parameters
    ----------
    managed
        The session in which its agent asks for confirmations.
    """
    own = select(_S.session_id).where(_S.channel == channel)
    told = EVENTS.c.session_id.in_(own) & EVENTS.c.event_type.in_([*RELEVANT])
    if managed is not None:
        told |= (EVENTS.c.session_id == managed) & EVENTS.c.event_type.in_([*CONFIRMATIONS])
    statement = select(EVENTS).where(told, EVENTS.c.cursor > cursor).order_by(EVENTS.c.cursor).limit(limit)
    return [event_of(row) for row in await connection.execute(statement)]


async def cursor_of(connection: Connection, channel: str) -> int:
    """Give the cursor of the last event whose answer the broker has."""
    found = (await connection.execute(select(CHANNELS.c.cursor).where(CHANNELS.c.channel == channel))).scalar()
    return found or 0


async def set_cursor(connection: Connection, channel: str, cursor: int) -> None:
    """Note it."""
    changed = await connection.execute(update(CHANNELS).where(CHANNELS.c.channel == channel).values(cursor=cursor))
    if not changed.rowcount:
        await connection.execute(insert(CHANNELS).values(channel=channel, cursor=cursor))


async def remove_before(connection: Connection, run_id: str) -> None:
    """Forget the messages of runs whose ids are before one: these ascend in time."""
    await connection.execute(delete(CHANNEL_MESSAGES).where(_M.run_id < run_id))


def _origin(row: Row[Any]) -> Origin:
    return Origin(row.run_id, row.in_reply_to, row.channel_id, row.metadata)
