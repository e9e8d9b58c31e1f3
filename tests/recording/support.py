"""Journals to look at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentd.model.events import Detail, Event, EventKind
from agentd.recording.journal.database import JournalDatabase
from agentd.recording.journal.entry import Entry, EventFilter, entry_of
from agentd.recording.journal.journal import Journal

ALL = EventFilter()
EPOCH = 1_700_000_000.0


def event(number: int = 0, agent: str | None = "a", kind: EventKind = EventKind.STARTED, **data: Detail) -> Event:
    return Event(kind, agent, None, {"number": number, **data})


def entries(first: int, last: int) -> list[Entry]:
    """Events with these numbers, a second apart."""
    return [entry_of(seq, EPOCH + seq, event(seq, agent=f"a{seq % 3}")) for seq in range(first, last + 1)]


def written(folder: Path, last: int, first: int = 1, total_bytes: int = 1 << 30) -> Path:
    """Write a journal with the events up to this number, a few at a time."""
    database = JournalDatabase(folder, total_bytes)
    database.find()
    for begin in range(first, last + 1, 3):
        database.append(entries(begin, min(begin + 2, last)))
    database.close()
    return database.path


def read_all(folder: Path, after: int = 0, wanted: EventFilter = ALL) -> list[int]:
    """Read the database from the event after a number to the end, as a reader does."""
    found: list[int] = []
    while some := JournalDatabase(folder).read(after, wanted, 50):
        found += [entry.seq for entry in some]
        after = found[-1]
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    """What the database holds, read without agentd's own code."""
    with contextlib.closing(sqlite3.connect(f"file:{folder}/events.db?mode=rw", uri=True)) as connection:
        return [json.loads(line) for (line,) in connection.execute("SELECT event FROM events ORDER BY seq")]


async def journal_wrote(journal: Journal) -> None:
    """Wait until readers are shown everything."""
    async with asyncio.timeout(30):
        while journal.buffer.readable < journal.buffer.head:
            await journal.buffer.news()


async def taken(journal: Journal, start: int | None = None, wanted: EventFilter = ALL) -> Sequence[Entry]:
    """Read a journal to its end."""
    reader = journal.reader(wanted, start)
    found: list[Entry] = []
    while some := await reader.take():
        found += some
    journal.leave(reader)
    return found
