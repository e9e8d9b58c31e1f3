"""Events, as clients read and follow them; and the answers to requests that may come again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from agentd.gateway.engine import steps
from agentd.gateway.engine.core import Core
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Event
from agentd.gateway.model.once import Once, Recorded
from agentd.gateway.model.results import EventPage
from agentd.gateway.store import events, idempotency
from agentd.gateway.store.database import Writer


class Happenings:
    """The events of sessions."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def page(self, caller: Caller, session_id: str, cursor: int = 0, limit: int = 100) -> EventPage:
        """List a session's events after a cursor."""
        async with self._core.database.read() as connection:
            await steps.find_session(connection, caller, session_id)
            found = await events.after(connection, session_id, cursor, limit + 1)
        shown = tuple(found[:limit])
        return EventPage(shown, shown[-1].cursor if shown else cursor, len(found) > limit)

    async def follow(self, caller: Caller, session_id: str | None, cursor: int) -> AsyncGenerator[Event, None]:
        """Give the events after a cursor, of a session or of all that the caller sees, and those to come.

        In order, none twice and none lost. Raises `NotFoundError` with the first one.
        """
        database = self._core.database
        if session_id is not None:
            async with database.read() as connection:
                await steps.find_session(connection, caller, session_id)

        async def read(after: int, limit: int) -> list[Event]:
            async with database.read() as connection:
                if session_id is not None:
                    return await events.after(connection, session_id, after, limit)
                return await events.after_of_all(connection, caller, after, limit)

        def wants(_event: Event, owner: str | None) -> bool:
            return caller.sees(owner)

        async for event in self._core.feed.follow(session_id, cursor, wants, read):
            yield event

    async def last_cursor(self) -> int:
        """Give the cursor of the newest event, from which only those to come follow."""
        async with self._core.database.read() as connection:
            return await events.last_cursor(connection)


class Answers:
    """The answers given to requests with an idempotency key."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def recall(self, once: Once) -> Recorded | None:
        """Give what the first request with this key was answered."""
        async with self._core.database.read() as connection:
            return await idempotency.recall(connection, once)

    async def remember(self, once: Once, status: int, body: bytes) -> None:
        """Keep what a request was answered that made nothing.

        Raises
        ------
        KeyTakenError
            If another one was the first.
        """
        await self._core.database.write(lambda writer: self.keep(writer, once, status, body))

    async def keep(self, writer: Writer, once: Once | None, status: int, body: bytes) -> None:
        """Keep what a request is answered, in the transaction of its effect; raises as `remember`."""
        if once is not None:
            await steps.keep(writer, once, Recorded(once.fingerprint, status, body), self._core.wall())
