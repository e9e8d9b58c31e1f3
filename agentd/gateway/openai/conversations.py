"""Conversations: what stands in them, and what of it an agent does not know yet."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from agentd.gateway.ids import new_id
from agentd.gateway.model.caller import Caller
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.refusal import missing
from agentd.gateway.store import conversations as store
from agentd.gateway.store.conversations import StoredConversation
from agentd.gateway.store.database import Database, Writer

ItemsOf = Callable[[str], Awaitable[list[JsonObject]]]
"""Gives the items of a response, by its id: what was asked and, once it has ended, what was answered."""

_T = TypeVar("_T")

Note: TypeAlias = Callable[[Writer, _T], Awaitable[None]]
"""Notes something of what is made, in its transaction."""


class Conversations:
    """All conversations.

    Parameters
    ----------
    items_of
        Of a response.
    """

    def __init__(self, database: Database, items_of: ItemsOf) -> None:
        self._database = database
        self._items_of = items_of

    async def create(
        self,
        caller: Caller,
        metadata: Mapping[str, str],
        items: Sequence[JsonObject],
        note: Note[StoredConversation] | None = None,
    ) -> StoredConversation:
        """Begin one; what is noted of it is in the same transaction."""
        now = time.time()
        new = StoredConversation(new_id("conv", now), caller.user, now, metadata)

        async def write(writer: Writer) -> None:
            await store.add(writer.connection, new)
            await store.add_items(writer.connection, new.id, items)
            if note is not None:
                await note(writer, new)

        await self._database.write(write)
        return new

    async def find(self, caller: Caller, identity: str) -> StoredConversation:
        """Find one.

        Raises
        ------
        ApiError
            If there is none for this caller.
        """
        async with self._database.read() as connection:
            found = await store.find(connection, identity)
        if found is None or not caller.sees(found.owner):
            raise missing("Conversation", identity)
        return found

    async def update(self, caller: Caller, identity: str, metadata: Mapping[str, str]) -> StoredConversation:
        """Replace what is noted of one."""
        await self.find(caller, identity)
        await self._database.write(lambda writer: store.set_metadata(writer.connection, identity, metadata))
        return await self.find(caller, identity)

    async def remove(self, caller: Caller, identity: str) -> None:
        """Remove one; its responses stay."""
        await self.find(caller, identity)
        await self._database.write(lambda writer: store.remove(writer.connection, identity))

    async def items(self, caller: Caller, identity: str) -> list[JsonObject]:
        """List what was said in one, in order."""
        await self.find(caller, identity)
        async with self._database.read() as connection:
            entries = await store.entries(connection, identity)
            removed = await store.removed(connection, identity)
        items: list[JsonObject] = []
        for entry in entries:
            if entry.item is not None:
                items.append(entry.item)
            elif entry.response_id is not None:
                items += [item for item in await self._items_of(entry.response_id) if item["id"] not in removed]
        return items

    async def item(self, caller: Caller, identity: str, item_id: str) -> JsonObject:
        """Find an item of one.

        Raises
        ------
        ApiError
            If it has none of this id.
        """
        for item in await self.items(caller, identity):
            if item["id"] == item_id:
                return item
        raise missing("Item", item_id)

    async def add_items(
        self,
        caller: Caller,
        identity: str,
        items: Sequence[JsonObject],
        note: Note[Sequence[JsonObject]] | None = None,
    ) -> None:
        """Put items at the end of one; the agent is told of them with the next response.

        What is noted of them is in the same transaction.
        """
        await self.find(caller, identity)

        async def write(writer: Writer) -> None:
            await store.add_items(writer.connection, identity, items)
            if note is not None:
                await note(writer, items)

        await self._database.write(write)

    async def remove_item(self, caller: Caller, identity: str, item_id: str) -> StoredConversation:
        """Take an item out; what the agent has read of it, it knows."""
        await self.item(caller, identity, item_id)
        async with self._database.read() as connection:
            entries = await store.entries(connection, identity)
        own = next((each for each in entries if each.item is not None and each.item["id"] == item_id), None)

        async def write(writer: Writer) -> None:
            if own is not None:
                await store.remove_entry(writer.connection, own.position)
            else:
                await store.remove_item(writer.connection, identity, item_id)

        await self._database.write(write)
        return await self.find(caller, identity)

    async def untold(self, identity: str) -> dict[int, JsonObject]:
        """Give what clients put into one and its agent does not know, by position."""
        async with self._database.read() as connection:
            entries = await store.entries(connection, identity)
        return {each.position: each.item for each in entries if each.item is not None and not each.told}
