"""Reading the journal: from the files what is old, from memory what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentd.recording.journal.files import Place, Wanted
from agentd.recording.journal.lines import Entry

if TYPE_CHECKING:
    from agentd.recording.journal.journal import Journal

_AT_ONCE = 512
"""Events handed on in one go."""


class Reader:
    """One reader's place in the journal; it holds nothing of what it has not taken."""

    def __init__(self, journal: Journal, wanted: Wanted, after: int, missed: Entry | None) -> None:
        self._journal = journal
        self._wanted = wanted
        self._after = after
        self._missed = missed
        self._place: Place | None = None

    async def take(self) -> Sequence[Entry]:
        """Give what comes next, as much as is sent in one go; nothing where there is nothing for now."""
        journal = self._journal
        if self._missed is not None:
            missed, self._missed = self._missed, None
            return (missed,)
        while self._after < journal.memory.readable:
            taken = self._from_memory() if self._after >= journal.memory.floor else await self._from_files()
            if taken:
                return taken
        return ()

    def _from_memory(self) -> Sequence[Entry]:
        self._place = None
        entries = self._journal.memory.shown(self._after, _AT_ONCE)
        self._after = entries[-1].seq if entries else self._journal.memory.readable
        return [entry for entry in entries if self._wanted.takes(entry)]

    async def _from_files(self) -> Sequence[Entry]:
        floor = self._journal.memory.floor
        piece = await self._journal.read_files(self._place, self._after, self._wanted)
        self._place, self._after = piece.place, piece.last
        if piece.done:
            # What is neither in the files nor in memory is lost.
            self._after = max(self._after, floor)
        return piece.entries

    async def wait(self, seconds: float) -> bool:
        """Wait until there may be more, or the journal ends; ``False`` if neither comes within so many seconds."""
        journal = self._journal
        try:
            async with asyncio.timeout(seconds):
                while self._after >= journal.memory.readable and not journal.ended:
                    await journal.news()
        except TimeoutError:
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the journal is closed and everything is taken."""
        return self._journal.ended and self._after >= self._journal.memory.readable

    def close(self) -> None:
        """Read no more."""
        self._journal.leave(self)
