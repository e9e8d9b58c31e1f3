"""Conversations of OpenAI's interface in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import CONVERSATION_ENTRIES, CONVERSATION_REMOVED, CONVERSATIONS

_T = CONVERSATIONS.c
_E = CONVERSATION_ENTRIES.c
_R = CONVERSATION_REMOVED.c


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation."""

    id: str
    owner: str | None
    created_at: float
    """Seconds since the epoch."""
    metadata: Mapping[str, str]
    session_id: str | None = None
    """In which it goes on; ``None`` before its first response."""
    model: str | None = None
    """Of the last response."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a conversation: an item that a client put there, or a response with all its items."""

    position: int
    item: dict[str, object] | None
    response_id: str | None
    told: bool
    """Whether the agent knows of it."""


async def add(connection: Connection, new: StoredConversation) -> None:
    """Add a conversation."""
    await connection.execute(
        insert(CONVERSATIONS).values(id=new.id, owner=new.owner, created_at=new.created_at, metadata=dict(new.metadata))
    )


async def find(connection: Connection, conversation_id: str) -> StoredConversation | None:
    """Find a conversation."""
    found = (await connection.execute(select(CONVERSATIONS).where(_T.id == conversation_id))).one_or_none()
    if found is None:
        return None
    return StoredConversation(found.id, found.owner, found.created_at, found.metadata, found.session_id, found.model)


async def set_metadata(connection: Connection, conversation_id: str, metadata: Mapping[str, str]) -> None:
    """Replace what a client noted of a conversation."""
    await connection.execute(update(CONVERSATIONS).where(_T.id == conversation_id).values(metadata=dict(metadata)))


async def go_on(connection: Connection, conversation_id: str, session_id: str, model: str) -> None:
    """Note the session in which a conversation goes on; all that was put into it has been told there."""
    await connection.execute(
        update(CONVERSATIONS).where(_T.id == conversation_id).values(session_id=session_id, model=model)
    )


async def remove(connection: Connection, conversation_id: str) -> None:
    """Remove a conversation and its items; its responses stay."""
    await connection.execute(delete(CONVERSATION_REMOVED).where(_R.conversation_id == conversation_id))
    await connection.execute(delete(CONVERSATION_ENTRIES).where(_E.conversation_id == conversation_id))
    await connection.execute(delete(CONVERSATIONS).where(_T.id == conversation_id))


async def add_items(connection: Connection, conversation_id: str, items: Sequence[dict[str, object]]) -> None:
    """Put items at the end of a conversation, for the agent to be told with the next response."""
    if items:
        rows = [{"conversation_id": conversation_id, "item": item, "told": False} for item in items]
        await connection.execute(insert(CONVERSATION_ENTRIES), rows)


async def add_response(connection: Connection, conversation_id: str, response_id: str) -> None:
    """Put a response at the end of a conversation."""
    await connection.execute(
        insert(CONVERSATION_ENTRIES).values(conversation_id=conversation_id, response_id=response_id, told=True)
    )


async def set_told(connection: Connection, positions: Sequence[int]) -> None:
    """Note that the agent knows of entries."""
    await connection.execute(update(CONVERSATION_ENTRIES).where(_E.position.in_(positions)).values(told=True))


async def entries(connection: Connection, conversation_id: str) -> list[Entry]:
    """List what stands in a conversation, in order."""
    statement = select(CONVERSATION_ENTRIES).where(_E.conversation_id == conversation_id).order_by(_E.position)
    return [_entry(row) for row in await connection.execute(statement)]


async def remove_entry(connection: Connection, position: int) -> None:
    """Take an item of a client out."""
    await connection.execute(delete(CONVERSATION_ENTRIES).where(_E.position == position))


async def remove_item(connection: Connection, conversation_id: str, item_id: str) -> None:
    """Take an item of a response out."""
    await connection.execute(insert(CONVERSATION_REMOVED).values(conversation_id=conversation_id, item_id=item_id))


async def removed(connection: Connection, conversation_id: str) -> frozenset[str]:
    """List the ids of the items of responses that were taken out."""
    statement = select(_R.item_id).where(_R.conversation_id == conversation_id)
    return frozenset((await connection.execute(statement)).scalars())


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.position, row.item, row.response_id, row.told)
