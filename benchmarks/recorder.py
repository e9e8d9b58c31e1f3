"""A journal behind the API in a process of its own, or a bare server that sends the same bytes: for `recorded.py`.

``python -m benchmarks.recorder journal|bare SOCKET FOLDER``. Each line on stdin is a number of events to add at once.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agentd.api.app import build_app
from agentd.api.serve import serve
from agentd.model.events import Event, EventKind
from agentd.recording.journal.entry import entry_of
from agentd.recording.journal.journal import Journal
from agentd.recording.metrics.answer import Metrics, Readings
from agentd.recording.metrics.measures import Counters
from agentd.recording.transcripts.reader import TranscriptReader
from tests.api.memory_source import MemorySource
from tests.support.transcripts import files_in

AT_ONCE = 100
"""Events that happen in one turn of the event loop."""

EVENT = Event(
    EventKind.STARTED,
    "reviewer-0",
    None,
    {"state": "running", "was": "starting", "run": "a51721f34a76000000", "pid": 24590, "restarts": 0},
)


async def _lines(add: Callable[[], None]) -> None:
    """Add as many events as each line on stdin says, until there are no more lines."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        for number in range(int(line)):
            add()
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)


async def _journal(path: Path, folder: Path) -> None:
    journal = Journal(folder, time.time)
    await journal.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        source, reader = MemorySource(), TranscriptReader(files_in(folder.with_name("transcripts")))
        metrics = Metrics(Counters(time.monotonic), time.monotonic, lambda: Readings((), (), (), 0))
        app = build_app(source, transcripts=reader, screens=source, processes=source, journal=journal, metrics=metrics)
        async with serve(app, listening):
            await _lines(lambda: journal.add(EVENT))
        reader.close()
    await journal.close()


async def _bare(path: Path) -> None:
    """Send the same bytes, made beforehand, to whoever asks for anything."""
    clients: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            # It only looked whether anybody is there.
            writer.close()
            return
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nretry: 1000\nid: 0\n\n")
        clients.append(writer)

    entry = entry_of(123456, time.time(), EVENT)
    frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, entry.kind.encode(), entry.body)

    def add() -> None:
        for client in clients:
            client.write(frame)

    async with await asyncio.start_unix_server(connected, path):
        await _lines(add)


if __name__ == "__main__":
    kind, where, kept = sys.argv[1:]
    asyncio.run(_bare(Path(where)) if kind == "bare" else _journal(Path(where), Path(kept)))
