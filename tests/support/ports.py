"""Ports of loopback that nobody else is given."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


def held_port() -> socket.socket:
    """A port that nobody else is given while the socket is open, and nobody listens on.

    A server that sets SO_REUSEADDR, as most do, may have it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def number_of(held: socket.socket) -> int:
    """The number of a port that is held."""
    port: int = held.getsockname()[1]
    return port


@contextlib.contextmanager
def a_port() -> Iterator[int]:
    """Hold one while the context is open."""
    with held_port() as held:
        yield number_of(held)
