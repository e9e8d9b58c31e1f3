from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import libtmux
import pytest
import structlog
from structlog.testing import LogCapture

from agentd.tmux.connection import ControlConnection
from agentd.tmux.server import TmuxServer
from tests.tmux.launches import Launches
from tests.tmux.servers import client_command, make_server


@pytest.fixture(autouse=True)
def events() -> Iterator[LogCapture]:
    """What was logged."""
    capture = LogCapture()
    former = structlog.get_config()["processors"]
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(processors=former)


@pytest.fixture
async def server(short_folder: Path) -> AsyncIterator[TmuxServer]:
    """A connected server on a socket of its own."""
    made = make_server(short_folder)
    await made.connect()
    yield made
    with contextlib.suppress(ProcessLookupError):
        if made.identity is not None:
            os.kill(made.identity.pid, signal.SIGCONT)
    await made.kill_server()


@pytest.fixture
def witness(server: TmuxServer) -> libtmux.Server:
    """The same server through another program."""
    return libtmux.Server(socket_path=str(server.socket), config_file="/dev/null")


@pytest.fixture
async def connect(server: TmuxServer) -> AsyncIterator[Callable[..., object]]:
    """Open further control connections to the server."""
    opened: list[ControlConnection] = []

    async def open_one(answer_limit: float = 30.0) -> ControlConnection:
        connection = await ControlConnection.open(client_command(server.socket), lambda _: None, answer_limit)
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        await connection.close()


@pytest.fixture
async def launches(short_folder: Path, server: TmuxServer) -> AsyncIterator[Launches]:
    """Launch agents on the server."""
    made = Launches(short_folder, server)
    yield made
    made.runtime.close()
