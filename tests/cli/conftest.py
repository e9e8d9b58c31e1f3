from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import Client, MemorySource, TmuxServer, answering


@pytest.fixture
def client(short_folder: Path) -> Client:
    """Both commands, with sockets that nobody listens on yet."""
    return Client(short_folder)


@pytest.fixture
def source(client: Client) -> Iterator[MemorySource]:
    """What the daemon knows; it answers while the test runs."""
    source = MemorySource()
    with answering(source, client.api_socket):
        yield source


@pytest.fixture
def agents_tmux(client: Client) -> Iterator[TmuxServer]:
    """The server that the agents' sessions are on."""
    server = TmuxServer(client.tmux_socket)
    yield server
    server.close()


@pytest.fixture
def operator_tmux(client: Client) -> Iterator[TmuxServer]:
    """Terminals to run the client in."""
    server = TmuxServer(client.folder / "op.sock")
    yield server
    server.close()
