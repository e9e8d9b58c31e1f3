"""Reading the journal: from the database what is old, from memory what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from agentd.recording.journal.buffer import EventBuffer
from agentd.recording.journal.entry import Entry, EventFilter

_AT_ONCE = 512
"""Events handed on in one go."""


class Source(Protocol):
    """The journal, as its readers see it."""

    @property
    def buffer(self) -> EventBuffer:
        """What is in memory."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more comes into it."""
        ...

    async def read(self, after: int, wanted: EventFilter, count: int) -> list[Entry]:
        """Read from the database, at most so many events after this one."""
        ...

    async def news(self) -> None:
        """Wait until there may be more."""
        ...

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        ...


class Reader:
    """One reader's place in the journal; it holds nothing of what it has not taken."""

    def __init__(self, journal: Source, wanted: EventFilter, after: int, missed: Entry | None) -> None:
        self._journal = journal
        self._wanted = wanted
        self._after = after
        self._missed = missed

    async def take(self) -> Sequence[Entry]:
        """Give what comes next, as much as is sent in one go; nothing where there is nothing for now."""
        buffer = self._journal.buffer
        if self._missed is not None:
            missed, self._missed = self._missed, None
            return (missed,)
        while self._after < buffer.readable:
            if self._after >= buffer.floor:
                entries = buffer.shown(self._after, _AT_ONCE)
                self._after = entries[-1].seq if entries else buffer.readable
                taken = [entry for entry in entries if self._wanted.matches(entry)]
            else:
                floor = buffer.floor
                taken = await self._journal.read(self._after, self._wanted, _AT_ONCE)
                self._after = taken[-1].seq if taken else self._after
                if len(taken) < _AT_ONCE:
                    # What is neither in the database nor in memory is lost.
                    self._after = max(self._after, floor)
            if taken:
                return taken
        return ()

    async def wait(self, seconds: float) -> bool:
        """Wait until there may be more, or the journal ends; ``False`` if neither comes within so many seconds."""
        journal = self._journal
        try:
            async with asyncio.timeout(seconds):
                while self._after >= journal.buffer.readable and not journal.ended:
                    await journal.news()
        except TimeoutError:
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the journal is closed and everything is taken."""
        return self._journal.ended and self._after >= self._journal.buffer.readable

    def close(self) -> None:
        """Read no more."""
        self._journal.leave(self)
