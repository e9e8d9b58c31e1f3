"""Reading the journal: from the database what is old, from memory what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agentd.recording.journal.buffer import EventBuffer
from agentd.recording.journal.entry import Entry, EventFilter

_AT_ONCE = 512
"""Events handed on in one go."""


Read = Callable[[int, EventFilter, int], Awaitable[list[Entry]]]
"""Gives from the database the wanted events after a number, at most so many of them."""


class Reader:
    """One reader's place in the journal; it holds nothing of what it has not taken."""

    def __init__(self, buffer: EventBuffer, read: Read, wanted: EventFilter, after: int, missed: Entry | None) -> None:
        self._buffer = buffer
        self._read = read
        self._wanted = wanted
        self._after = after
        self._missed = missed

    async def take(self) -> Sequence[Entry]:
        """Give what comes next, as much as is sent in one go; nothing where there is nothing for now."""
        buffer = self._buffer
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
                taken = await self._read(self._after, self._wanted, _AT_ONCE)
                self._after = taken[-1].seq if taken else self._after
                if len(taken) < _AT_ONCE:
                    # What is neither in the database nor in memory is lost.
                    self._after = max(self._after, floor)
            if taken:
                return taken
        return ()

    async def wait(self, seconds: float) -> bool:
        """Wait until there may be more, or the journal ends; ``False`` if neither comes within so many seconds."""
        buffer = self._buffer
        try:
            async with asyncio.timeout(seconds):
                while self._after >= buffer.readable and not buffer.ended:
                    await buffer.news()
        except TimeoutError:
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the journal is closed and everything is taken."""
        return self._buffer.ended and self._after >= self._buffer.readable
