from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agentd.api.app import build_app
from agentd.api.serve import ClientLimits, serve
from agentd.model.events import Event, EventKind
from agentd.recording.journal.journal import Journal
from agentd.recording.metrics.answer import Metrics, Readings
from agentd.recording.metrics.measures import Counters
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.reader import TranscriptReader
from tests.api.memory_source import MemorySource
from tests.recording.support import journal_wrote
from tests.support.transcripts import files_in

NOTHING = Readings((), (), (), 1)
"""To measure."""

Serving = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def source() -> MemorySource:
    return MemorySource()


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def listening(socket_path: Path) -> Iterator[socket.socket]:
    """A socket as the daemon hands it over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(socket_path))
        sock.listen()
        yield sock


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """A journal with two events."""
    journal = Journal(tmp_path / "journal", time.time)
    await journal.open()
    journal.add(Event(EventKind.DAEMON_STARTED, None, None, {"pid": 4242}))
    journal.add(Event(EventKind.EXITED, "reviewer-0", "ended", {"state": "failed", "exit_code": 3}))
    await journal_wrote(journal)
    yield journal
    await journal.close()


@pytest.fixture
def transcripts(tmp_path: Path) -> TranscriptFiles:
    """What is kept of what agents printed; nothing at first."""
    return files_in(tmp_path / "state")


@pytest.fixture
def serving(source: MemorySource, journal: Journal, listening: socket.socket, transcripts: TranscriptFiles) -> Serving:
    """Serve the source with limits, and routes, of the test's own."""

    @asynccontextmanager
    async def start(*routes: web.RouteDef, **limits: float) -> AsyncIterator[None]:
        reader = TranscriptReader(transcripts)
        metrics = Metrics(Counters(time.monotonic), time.monotonic, lambda: NOTHING)
        app = build_app(source, transcripts=reader, screens=source, processes=source, journal=journal, metrics=metrics)
        app.add_routes(routes)
        async with serve(app, listening, ClientLimits(**limits)):  # type: ignore[arg-type]  # connections is an int
            yield
        reader.close()

    return start


@pytest.fixture
async def api(serving: Serving, socket_path: Path) -> AsyncIterator[Path]:
    """The socket of a running API."""
    async with serving():
        yield socket_path


@pytest.fixture
async def client(api: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(str(api))) as session:
        yield session
