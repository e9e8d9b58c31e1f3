"""Journals to look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from agentd.model.events import Detail, Event, EventKind
from agentd.recording.journal.files import Wanted, read_piece, segments
from agentd.recording.journal.journal import Journal
from agentd.recording.journal.lines import Entry, entry_of
from agentd.recording.journal.writer import JournalWriter

ALL = Wanted()
EPOCH = 1_700_000_000.0


def event(number: int = 0, agent: str | None = "a", kind: EventKind = EventKind.STARTED, **data: Detail) -> Event:
    return Event(kind, agent, None, {"number": number, **data})


def entries(first: int, last: int) -> list[Entry]:
    """Events with these numbers, a second apart."""
    return [entry_of(seq, EPOCH + seq, event(seq, agent=f"a{seq % 3}")) for seq in range(first, last + 1)]


def written(folder: Path, last: int, segment_bytes: int = 1000, total_bytes: int = 1 << 30, first: int = 1) -> None:
    """Write a journal with the events up to this number, a few at a time."""
    writer = JournalWriter(folder, segment_bytes, total_bytes)
    writer.find()
    for begin in range(first, last + 1, 3):
        writer.append(entries(begin, min(begin + 2, last)))
    writer.close()


def read_all(folder: Path, after: int = 0, wanted: Wanted = ALL) -> list[int]:
    """Read the files from the event after a number to the end, as a reader does."""
    found, place = [], None
    while True:
        piece = read_piece(folder, place, after, wanted)
        found += [entry.seq for entry in piece.entries]
        place, after = piece.place, piece.last
        if piece.done:
            return found


def lines(folder: Path) -> list[dict[str, object]]:
    """What the files hold, read without agentd's own code."""
    return [json.loads(line) for segment in segments(folder) for line in segment.path.read_bytes().splitlines()]


async def journal_wrote(journal: Journal) -> None:
    """Wait until readers are shown everything."""
    async with asyncio.timeout(10):
        while journal.memory.readable < journal.memory.head:
            await journal.news()


async def taken(journal: Journal, start: int | None = None, wanted: Wanted = ALL) -> Sequence[Entry]:
    """Read a journal to its end."""
    reader = journal.reader(wanted, start)
    found: list[Entry] = []
    while some := await reader.take():
        found += some
    reader.close()
    return found
