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

from agentd.files.looks import in_thread
from agentd.files.worker import Worker
from agentd.model.events import Event, EventKind
from agentd.model.status import RecordingHealth
from agentd.recording.journal.files import Piece, Place, Wanted, before_last, last_before, read_piece
from agentd.recording.journal.lines import Entry, entry_of
from agentd.recording.journal.memory import Memory
from agentd.recording.journal.reader import Reader
from agentd.recording.journal.writer import SEGMENT_BYTES, TOTAL_BYTES, JournalWriteError, JournalWriter

log = structlog.get_logger(__name__)

UNCLEAN_GAP = 10_000
"""Numbers passed over after a daemon that did not end in order: it may have given away some that were never written."""

_DAMAGE_KNOWN = 10_000
"""Damaged lines that are told apart; more are counted as one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the journal may hold; times are seconds."""

    segment_bytes: int = SEGMENT_BYTES
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

    def __init__(self, folder: Path, wall: Callable[[], float], limits: Limits | None = None) -> None:
        self.folder = folder
        self._wall = wall
        self._limits = limits or Limits()
        self._writer = JournalWriter(folder, self._limits.segment_bytes, self._limits.total_bytes)
        # Of two, for a sync may take longer than several writes.
        self._disk = Worker("journal", threads=2)
        self.memory = Memory(self._limits.recent, self._limits.unwritten)
        self._error: str | None = None
        self._lost = 0
        self._lost_untold = 0
        self._damaged: set[Place] = set()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._next_write = 0.0
        self._under_way = 0
        """Number of the last event that is being written."""
        self._news = asyncio.Event()
        self._found = False
        self._ends_told: frozenset[str] = frozenset()
        """Runs whose end a former daemon told before it was killed; whoever adopts them cannot know that."""
        self._closing = False
        self._ended = False
        self._readers: set[Reader] = set()
        self._no_readers = asyncio.Event()

    # -- taking and writing

    async def open(self) -> None:
        """Find out what a former daemon left, before the first event is taken.

        Raises nothing: what cannot be read is told by `health`, and tried again.
        """
        await self._find()

    async def _find(self) -> None:
        try:
            async with asyncio.timeout(self._limits.stuck):
                found = await self._disk.do(self._writer.find)
        except TimeoutError:
            self._fail(f"{self.folder}: the disk has not answered for {self._limits.stuck:g} s")
            return
        except OSError as error:
            self._fail(f"{self.folder}: {error.strerror}")
            return
        self._found = True
        self._ends_told = found.ended
        # Found late, some numbers were given away without knowing those in the files: what is not after them is lost.
        self._count_lost(self.memory.begin(found.last, found.last if found.clean else found.last + UNCLEAN_GAP))

    def add(self, event: Event) -> None:
        """Keep an event; returns at once and never raises.

        The end of a run that a killed daemon has told is passed over.
        """
        if event.kind is EventKind.EXITED and event.data.get("run") in self._ends_told:
            return
        self.memory.add(entry_of(self.memory.head + 1, self._wall(), event))
        if self._error is not None:
            self._count_lost(self.memory.drop_excess(self._under_way))
            self._show(self.memory.head)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._task is not None or self._timer is not None or self._closing:
            return
        loop = asyncio.get_running_loop()
        at = self._next_write if self._error is None else loop.time() + self._limits.retry
        self._timer = loop.call_at(max(loop.time(), at), self._write_now)

    def _write_now(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._write(), name="journal")
        self._task.add_done_callback(self._wrote)

    def _wrote(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            log.error("journal_failed", exc_info=task.exception())
            self._fail("a defect of agentd; its log has the details")
        if self.memory.unwritten():
            self._write_soon()

    async def _write(self) -> None:
        """Write what there is to write, and find out whether it can be."""
        if not self._found:
            await self._find()
            if not self._found:
                return
        batch = self.memory.unwritten()
        if not batch:
            return
        self._next_write = asyncio.get_running_loop().time() + self._limits.gather
        self._under_way = batch[-1].seq
        writing = self._disk.do(partial(self._writer.append, batch))
        await asyncio.wait([writing], timeout=self._limits.stuck)
        if not writing.done():
            self._fail(f"{self.folder}: the disk has not answered for {self._limits.stuck:g} s")
        try:
            await writing
        except JournalWriteError as error:
            if error.written:
                self._save(batch[error.written - 1].seq)
            self._under_way = 0
            self._fail(str(error))
            return
        self._save(batch[-1].seq)
        self._recover()

    def _save(self, seq: int) -> None:
        """Everything up to this number is written."""
        self.memory.written(seq)
        self._show(self.memory.saved)
        if self._sync_timer is None and not self._closing:
            self._sync_timer = asyncio.get_running_loop().call_later(self._limits.sync, self._sync_now)

    def _show(self, seq: int) -> None:
        """Let readers have everything up to this number."""
        if seq > self.memory.readable:
            self.memory.readable = seq
            news, self._news = self._news, asyncio.Event()
            news.set()

    def _count_lost(self, number: int) -> None:
        self._lost += number
        self._lost_untold += number

    def _fail(self, reason: str) -> None:
        """Nothing can be written for now: said once, and shown by `health`."""
        if self._error is None:
            log.error("journal_not_written", reason=reason, effect="events stay in memory; agents are not affected")
        self._error = reason
        self._show(self.memory.head)

    def _recover(self) -> None:
        if self._error is None:
            return
        self._error = None
        log.info("journal_written_again", lost=self._lost_untold)
        lost, self._lost_untold = self._lost_untold, 0
        if lost:
            self.add(Event(EventKind.EVENTS_LOST, None, "they could not be written", {"lost": lost}))

    def _sync_now(self) -> None:
        self._sync_timer = None
        if self._syncing is not None:
            # The disk takes longer than that: once it is done, again.
            self._sync_timer = asyncio.get_running_loop().call_later(self._limits.sync, self._sync_now)
            return
        self._syncing = asyncio.get_running_loop().create_task(self._sync(), name="journal sync")

    async def _sync(self) -> None:
        try:
            await self._disk.do(self._writer.sync)
        except JournalWriteError as error:
            log.warning("journal_not_synced", reason=str(error))
        finally:
            self._syncing = None

    async def close(self) -> None:
        """Write what there is left to write, let readers have it, and end them; a second time it does nothing."""
        if self._closing:
            return
        self._closing = True
        for timer in (self._timer, self._sync_timer):
            if timer is not None:
                timer.cancel()
        try:
            async with asyncio.timeout(self._limits.close):
                if self._task is not None:
                    await asyncio.wait([self._task])
                if self._error is None and self.memory.unwritten():
                    await self._write()
                if self._syncing is not None:
                    await asyncio.wait([self._syncing])
                await self._disk.do(self._writer.close)
        except TimeoutError:
            log.warning("journal_not_closed", reason="the disk did not answer", unwritten=len(self.memory.unwritten()))
        except JournalWriteError as error:
            log.warning("journal_not_synced", reason=str(error))
        self._disk.close()
        self._ended = True
        self._news.set()
        if self._readers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.last_words):
                    await self._no_readers.wait()

    # -- reading

    @property
    def lost(self) -> int:
        """Events that could not be kept since the daemon started."""
        return self._lost

    @property
    def bytes(self) -> int:
        """What is kept on disk."""
        return self._writer.bytes

    def health(self) -> RecordingHealth:
        """How the journal is doing."""
        error = self._error
        advice = "free some space, or make the state directory writable; agents are not affected"
        return RecordingHealth(
            state="ok" if error is None else "failing",
            error=None if error is None else f"{error}: {advice}",
            bytes=self.bytes,
            lost=self._lost + len(self._damaged),
        )

    def reader(self, wanted: Wanted, start: int | None = None) -> Reader:
        """Give what reads the wanted events after the number ``start``; ``None`` means all that are kept.

        A number that was never given away, which only a client of another journal can know, means: from now on.
        """
        missed = None
        if start is not None:
            start = min(start, self.memory.readable)
            oldest = self._writer.oldest
            if 0 < start < oldest - 1:
                missed = self._expired(start, oldest)
                start = oldest - 1
        reader = Reader(self, wanted, start or 0, missed)
        self._readers.add(reader)
        self._no_readers.clear()
        return reader

    @property
    def readers(self) -> int:
        """How many read now."""
        return len(self._readers)

    def leave(self, reader: Reader) -> None:
        """A reader needs no more."""
        self._readers.discard(reader)
        if not self._readers:
            self._no_readers.set()

    async def start_of_last(self, count: int, wanted: Wanted) -> int:
        """Give the number after which the last ``count`` wanted events come.

        Raises
        ------
        OSError
            If the files cannot be read.
        """
        if count == 0:
            return self.memory.readable
        floor = self.memory.floor
        taken = [entry.seq for entry in self.memory.shown(floor) if wanted.takes(entry)]
        if len(taken) >= count:
            return taken[-count] - 1
        return await in_thread("journal read", partial(before_last, self.folder, count - len(taken), wanted, floor))

    async def start_at(self, time: str) -> int:
        """Give the number after which events since a time come (RFC 3339 in UTC, with milliseconds).

        Raises
        ------
        OSError
            If the files cannot be read.
        """
        found = await in_thread("journal read", partial(last_before, self.folder, time))
        return min(found, self.memory.readable)

    def _expired(self, since: int, oldest: int) -> Entry:
        reason = f"events after {since} and before {oldest} are no longer kept"
        event = Event(EventKind.EVENTS_EXPIRED, None, reason, {"since": since, "oldest": oldest})
        return entry_of(oldest - 1, self._wall(), event)

    @property
    def ended(self) -> bool:
        """Whether it is closed: no more will come."""
        return self._ended

    async def news(self) -> None:
        """Wait until readers are shown more, or it is closed."""
        if not self._ended:
            await self._news.wait()

    async def read_files(self, place: Place | None, after: int, wanted: Wanted) -> Piece:
        """Read on in the files."""
        piece = await in_thread("journal read", partial(read_piece, self.folder, place, after, wanted))
        if len(self._damaged) < _DAMAGE_KNOWN:
            self._damaged.update(piece.damaged)
        if piece.error is not None:
            log.warning("journal_not_read", reason=piece.error)
        return piece
