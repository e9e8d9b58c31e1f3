"""The part of the journal that is in memory: what is not written yet, and what followers ask for."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from agentd.recording.journal.entry import Entry


class EventBuffer:
    """The newest events, in order: some that are written, then all that are not.

    Parameters
    ----------
    recent
        How many that are written are kept at least.
    unwritten
        How many that are not written may be kept.
    """

    def __init__(self, recent: int, unwritten: int) -> None:
        self._recent = recent
        self._limit = unwritten
        self._entries: list[Entry] = []
        self.head = 0
        """Number of the last event."""
        self.saved = 0
        """Number of the last event that is written."""
        self.floor = 0
        """All events after this number are here."""
        self.readable = 0
        """Number of the last event that readers are shown."""
        self.ended = False
        """Whether no more will come."""
        self._news = asyncio.Event()

    def begin(self, saved: int, head: int) -> int:
        """Go on where the database ends; returns how many events were taken too early to come after what is there.

        Parameters
        ----------
        saved
            Number of the last event in the database.
        head
            Number after which new ones come.
        """
        self.saved, self.head = saved, max(self.head, head)
        if not self._entries:
            self.floor = self.readable = self.head
        return self._index(saved)

    def add(self, entry: Entry) -> None:
        """Take an event, whose number is the next one."""
        self.head = entry.seq
        self._entries.append(entry)

    def unwritten(self) -> list[Entry]:
        """What is to be written."""
        return self._entries[self._index(self.saved) :]

    def drop_excess(self, under_way: int) -> int:
        """Give up the oldest events that are not written, as far as there are too many; returns how many.

        Parameters
        ----------
        under_way
            Number up to which events are being written; those are not given up.
        """
        first = self._index(max(self.saved, under_way))
        excess = max(0, len(self._entries) - first - self._limit)
        del self._entries[first : first + excess]
        return excess

    def written(self, seq: int) -> None:
        """Everything up to the number `seq` is written."""
        self.saved = max(self.saved, seq)
        written = self._index(self.saved)
        if written > 2 * self._recent:
            self.floor = self._entries[written - self._recent - 1].seq
            del self._entries[: written - self._recent]

    def shown(self, after: int, count: int | None = None) -> Sequence[Entry]:
        """The events here after a number that readers are shown, at most `count`."""
        first, last = self._index(after), self._index(self.readable)
        return self._entries[first : last if count is None else min(last, first + count)]

    def show(self, seq: int) -> None:
        """Let readers have everything up to the number `seq`."""
        if seq > self.readable:
            self.readable = seq
            news, self._news = self._news, asyncio.Event()
            news.set()

    def end(self) -> None:
        """No more will come."""
        self.ended = True
        self._news.set()

    async def news(self) -> None:
        """Wait until readers are shown more, or no more will come."""
        if not self.ended:
            await self._news.wait()

    def _index(self, seq: int) -> int:
        """How many of the events have this number or a lower one."""
        return bisect_right(self._entries, seq, key=attrgetter("seq"))
