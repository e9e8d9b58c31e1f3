"""Wakes those who follow sessions, once something new is committed.

Events are handed over in memory, in the order of their cursors; a follower that is too slow for that reads the database
again from where it is. So none is lost and none comes twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from agentd.gateway.model.objects import Event

_BUFFER: Final = 256
"""Events that a follower may be behind before it has to read them again."""

_PAGE: Final = 100
"""Events that are read at once. A follower that takes none holds as many in memory, at 1 kB each."""

_READ_AT_ONCE: Final = 8
"""Pages that are read at the same time: of 1000 followers that came at once, their pages took 50 MB."""


class Follower:
    """Somebody who follows one session, or all.

    Parameters
    ----------
    wants
        Whether an event, of a session of this owner, is for it.
    """

    def __init__(self, wants: Callable[[Event, str | None], bool]) -> None:
        self.wants = wants
        self.news = asyncio.Event()
        self._buffer: deque[Event] = deque()
        self._missed = True
        """Whether there is something in the database that is not in the buffer."""

    def put(self, event: Event) -> None:
        """Hand an event over."""
        if len(self._buffer) >= _BUFFER:
            self._missed = True
            self._buffer.clear()
        if not self._missed:
            self._buffer.append(event)
        self.news.set()

    def behind(self) -> bool:
        """Whether the database has to be read; from now on events are buffered."""
        missed, self._missed = self._missed, False
        return missed

    def fell_behind(self) -> None:
        """Have the database be read again."""
        self._missed = True

    def taken(self) -> list[Event]:
        """Take what is in the buffer."""
        taken = [*self._buffer]
        self._buffer.clear()
        self.news.clear()
        return taken


class Feed:
    """All followers."""

    def __init__(self) -> None:
        self._followers: dict[str | None, set[Follower]] = {}
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)

    def publish(self, events: list[tuple[Event, str | None]]) -> None:
        """Hand over what was committed, with the owners of the sessions."""
        for event, owner in events:
            for key in (event.session_id, None):
                for follower in self._followers.get(key, ()):
                    if follower.wants(event, owner):
                        follower.put(event)

    @contextmanager
    def following(self, session_id: str | None, wants: Callable[[Event, str | None], bool]) -> Iterator[Follower]:
        """Follow a session, or all of them, while the context is open."""
        follower = Follower(wants)
        followers = self._followers.setdefault(session_id, set())
        followers.add(follower)
        try:
            yield follower
        finally:
            followers.discard(follower)
            if not followers and self._followers.get(session_id) is followers:
                del self._followers[session_id]

    async def follow(
        self,
        session_id: str | None,
        cursor: int,
        wants: Callable[[Event, str | None], bool],
        read: Callable[[int, int], Awaitable[list[Event]]],
    ) -> AsyncGenerator[Event, None]:
        """Give the events after a cursor, and those to come.

        Parameters
        ----------
        read
            Reads up to so many events after a cursor from the database.
        """
        with self.following(session_id, wants) as follower:
            while True:
                if follower.behind():
                    async with self._reading:
                        coming = deque(await read(cursor, _PAGE))
                    if len(coming) == _PAGE:
                        follower.fell_behind()
                    else:
                        coming += follower.taken()
                else:
                    await follower.news.wait()
                    coming = deque(follower.taken())
                while coming:
                    event = coming.popleft()
                    # What was buffered while the database was read may have been read.
                    if event.cursor > cursor:
                        cursor = event.cursor
                        yield event
