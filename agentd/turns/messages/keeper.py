"""Keeps messages on disk without holding up the loop: one thread writes them in the order of their changes."""

from __future__ import annotations

import asyncio

import structlog

from agentd.files.worker import Worker
from agentd.turns.messages.message import Message
from agentd.turns.messages.store import Store, Summary

log = structlog.get_logger(__name__)


class Keeper:
    """Writes to a store, and reads from it.

    Parameters
    ----------
    store
        Keeps the messages; what it raises, each method that is awaited does.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._disk = Worker("messages")
        self._writing: set[asyncio.Future[None]] = set()

    async def live(self) -> list[Message]:
        """Those that something may still become of, the oldest first."""
        return await self._disk.do(self._store.live)

    async def find(self, agent: str, message_id: str) -> Message | None:
        """A message by its id."""
        return await self._disk.do(lambda: self._store.find(agent, message_id))

    async def newest(self, agent: str | None, most: int, *, undelivered: bool) -> list[Summary]:
        """The newest messages, as `Store.newest` gives them."""
        return await self._disk.do(lambda: self._store.newest(agent, most, undelivered=undelivered))

    async def put(self, message: Message) -> None:
        """Write a message; return once it is on disk."""
        await self._disk.do(lambda: self._store.put(message))

    def keep(self, *changed: Message) -> None:
        """Write changes that belong together, after those before them."""
        writing = self._disk.do(lambda: self._store.put(*changed))
        self._writing.add(writing)
        writing.add_done_callback(self._kept)

    def _kept(self, writing: asyncio.Future[None]) -> None:
        self._writing.discard(writing)
        if not writing.cancelled() and (error := writing.exception()) is not None:
            log.warning("message_not_kept", reason=str(error))

    async def kept(self, limit: float) -> None:
        """Wait until the changes before are on disk, or could not be written; at most so many seconds."""
        if self._writing:
            await asyncio.wait(set(self._writing), timeout=limit)

    async def close(self) -> None:
        """Write what is to be written, and close the file."""
        if self._writing:
            await asyncio.wait(self._writing)
        await self._disk.do(self._store.close)
        self._disk.close()
