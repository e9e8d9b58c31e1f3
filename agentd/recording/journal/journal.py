"""The journal: takes events as they happen, writes them down, and hands them to readers.

Nobody waits for it: an event is taken into memory, and a thread writes what has come together. Readers are shown what
is written, so that no number is ever given twice; while nothing can be written they are shown what is in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from agentd.files.worker import Worker, in_thread
from agentd.model.events import Event, EventKind
from agentd.model.status import RecordingHealth
from agentd.recording.journal.buffer import EventBuffer
from agentd.recording.journal.database import TOTAL_BYTES, JournalDatabase, JournalError
from agentd.recording.journal.entry import Entry, EventFilter, entry_of
from agentd.recording.journal.reader import Reader

log = structlog.get_logger(__name__)

UNCLEAN_GAP = 10_000
"""Numbers passed over after a daemon that did not end in order: it may have given away some that were never written."""

_ADVICE = "free some space, or make the state directory writable; agents are not affected"


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """What the journal may hold; times are seconds."""

    total_bytes: int = TOTAL_BYTES
    recent: int = 1024
    """Events in memory for those who follow: 0.4 MB."""
    unwritten: int = 4096
    """Events in memory that could not be written yet; then the oldest are lost."""
    gather: float = 0.05
    """At least from one write to the next: handing one to a thread costs 0.8 ms, mostly the wait for the interpreter's
    lock. 300 agents that start cost 20 writes; what happens after a while of silence is written at once."""
    sync: float = 1.0
    """At most from a write until it survives a power failure."""
    retry: float = 5.0
    """Between attempts while nothing can be written."""
    stuck: float = 5.0
    """For a write; a disk that takes longer counts as failing."""
    close: float = 2.0
    """For the last writes when the daemon ends."""
    last_words: float = 0.2
    """For readers to take the last events then."""


class Journal:
    """Keeps events.

    Parameters
    ----------
    folder
        Made when it is missing.
    wall
        Gives the wall clock, in seconds since the epoch.
    """

    def __init__(self, folder: Path, wall: Callable[[], float], limits: JournalLimits | None = None) -> None:
        self.folder = folder
        self._wall = wall
        self._limits = limits or JournalLimits()
        self._database = JournalDatabase(folder, self._limits.total_bytes)
        self._disk = Worker("journal")
        self.buffer = EventBuffer(self._limits.recent, self._limits.unwritten)
        self.lost = 0
        """Events that could not be kept since the daemon started."""
        self._lost_untold = 0
        self._error: str | None = None
        self._unwritten = asyncio.Event()
        self._unsynced = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way = 0
        """Number of the last event that is being written."""
        self._found = False
        self._ends_told: frozenset[str] = frozenset()
        """Runs whose end a former daemon told before it was killed; whoever adopts them cannot know that."""
        self._closing = False
        self._readers: set[Reader] = set()
        self._no_readers = asyncio.Event()

    # -- taking and writing

    async def open(self) -> None:
        """Find out what a former daemon left, before the first event is taken.

        Raises nothing: what cannot be read is told by `health`, and tried again.
        """
        await self._find()
        for work, name in ((self._keep_writing(), "journal"), (self._keep_syncing(), "journal sync")):
            self._tasks.append(asyncio.create_task(work, name=name))
            self._tasks[-1].add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.error("journal_failed", exc_info=task.exception())
            self._fail("a defect of agentd; its log has the details")

    async def _find(self) -> None:
        try:
            async with asyncio.timeout(self._limits.stuck):
                found = await self._disk.do(self._database.find)
        except TimeoutError:
            self._fail_stuck()
            return
        except JournalError as error:
            self._fail(str(error))
            return
        self._found = True
        self._ends_told = found.ended
        # Found late, some numbers were given away without knowing those on disk: what is not after them is lost.
        self._count_lost(self.buffer.begin(found.last, found.last if found.clean else found.last + UNCLEAN_GAP))

    def add(self, event: Event) -> None:
        """Keep an event; returns at once and never raises.

        The end of a run that a killed daemon has told is passed over.
        """
        if event.kind is EventKind.EXITED and event.data.get("run") in self._ends_told:
            return
        self.buffer.add(entry_of(self.buffer.head + 1, self._wall(), event))
        if self._error is not None:
            self._count_lost(self.buffer.drop_excess(self._under_way))
            self.buffer.show(self.buffer.head)
        self._unwritten.set()

    async def _keep_writing(self) -> None:
        while True:
            await self._unwritten.wait()
            self._unwritten.clear()
            await self._write()
            if self._error is not None:
                self._unwritten.set()
            await asyncio.sleep(self._limits.gather if self._error is None else self._limits.retry)

    async def _write(self) -> None:
        """Write what there is to write, and find out whether it can be."""
        if not self._found:
            await self._find()
        batch = self.buffer.unwritten()
        if not self._found or not batch:
            return
        self._under_way = batch[-1].seq
        writing = self._disk.do(partial(self._database.append, batch))
        await asyncio.wait([writing], timeout=self._limits.stuck)
        if not writing.done():
            self._fail_stuck()
        try:
            await writing
        except JournalError as error:
            self._under_way = 0
            self._fail(str(error))
            return
        self.buffer.written(batch[-1].seq)
        self.buffer.show(self.buffer.saved)
        self._unsynced.set()
        self._recover()

    async def _keep_syncing(self) -> None:
        while True:
            await self._unsynced.wait()
            await asyncio.sleep(self._limits.sync)
            self._unsynced.clear()
            try:
                await in_thread("journal sync", self._database.sync)
            except JournalError as error:
                log.warning("journal_not_synced", reason=str(error))

    def _count_lost(self, number: int) -> None:
        self.lost += number
        self._lost_untold += number

    def _fail_stuck(self) -> None:
        self._fail(f"{self.folder}: the disk has not answered for {self._limits.stuck:g} s")

    def _fail(self, reason: str) -> None:
        """Nothing can be written for now: said once, and shown by `health`."""
        if self._error is None:
            log.error("journal_not_written", reason=reason, effect="events stay in memory; agents are not affected")
        self._error = reason
        self.buffer.show(self.buffer.head)

    def _recover(self) -> None:
        if self._error is None:
            return
        self._error = None
        log.info("journal_written_again", lost=self._lost_untold)
        lost, self._lost_untold = self._lost_untold, 0
        if lost:
            self.add(Event(EventKind.EVENTS_LOST, None, "they could not be written", {"lost": lost}))

    async def close(self) -> None:
        """Write what there is left to write, let readers have it, and end them; a second time it does nothing."""
        if self._closing:
            return
        self._closing = True
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(self._limits.close):
                if self._error is None:
                    await self._write()
                await self._disk.do(self._database.close)
        except TimeoutError:
            log.warning("journal_not_closed", reason="the disk did not answer", unwritten=len(self.buffer.unwritten()))
        except JournalError as error:
            log.warning("journal_not_synced", reason=str(error))
        self._disk.close()
        self.buffer.end()
        if self._readers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.last_words):
                    await self._no_readers.wait()

    # -- reading

    def health(self) -> RecordingHealth:
        """How the journal is doing."""
        error = None if self._error is None else f"{self._error}: {_ADVICE}"
        return RecordingHealth("ok" if error is None else "failing", error, self._database.bytes, self.lost)

    def reader(self, wanted: EventFilter, start: int | None = None) -> Reader:
        """Give what reads the wanted events after the number ``start``; ``None`` means all that are kept.

        A number that was never given away, which only a client of another journal can know, means: from now on.
        """
        missed = None
        if start is not None:
            start = min(start, self.buffer.readable)
            oldest = self._database.oldest
            if 0 < start < oldest - 1:
                missed = self._expired(start, oldest)
                start = oldest - 1
        reader = Reader(self.buffer, self._read, wanted, start or 0, missed)
        self._readers.add(reader)
        self._no_readers.clear()
        return reader

    def _expired(self, since: int, oldest: int) -> Entry:
        reason = f"events after {since} and before {oldest} are no longer kept"
        event = Event(EventKind.EVENTS_EXPIRED, None, reason, {"since": since, "oldest": oldest})
        return entry_of(oldest - 1, self._wall(), event)

    @property
    def readers(self) -> int:
        """How many read now."""
        return len(self._readers)

    def leave(self, reader: Reader) -> None:
        """A reader needs no more."""
        self._readers.discard(reader)
        if not self._readers:
            self._no_readers.set()

    async def start_of_last(self, count: int, wanted: EventFilter) -> int:
        """Give the number after which the last ``count`` wanted events come.

        Raises
        ------
        JournalError
            If the database cannot be read.
        """
        if count == 0:
            return self.buffer.readable
        floor = self.buffer.floor
        taken = [entry.seq for entry in self.buffer.shown(floor) if wanted.matches(entry)]
        if len(taken) >= count:
            return taken[-count] - 1
        reading = partial(self._database.number_before_last, count - len(taken), wanted, floor)
        return await in_thread("journal read", reading)

    async def start_at(self, seconds: float) -> int:
        """Give the number after which events since a time come (wall clock, seconds since the epoch).

        Raises
        ------
        JournalError
            If the database cannot be read.
        """
        found = await in_thread("journal read", partial(self._database.number_before_time, round(1000 * seconds)))
        return self.buffer.saved if found is None else min(found, self.buffer.readable)

    async def _read(self, after: int, wanted: EventFilter, count: int) -> list[Entry]:
        try:
            return await in_thread("journal read", partial(self._database.read, after, wanted, count))
        except JournalError as error:
            log.warning("journal_not_read", reason=str(error))
            return []
