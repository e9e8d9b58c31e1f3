"""Ports of loopback that nobody else is given."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


def held_port() -> socket.socket:
    """A port that nobody else is given while the socket is open, and nobody listens on.

    A server that sets SO_REUSEADDR, as most do, may have it.
    """
    return _held("127.0.0.1", 0)


def _held(address: str, port: int) -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((address, port))
    except BaseException:
        held.close()
        raise
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


@contextlib.contextmanager
def two_ports() -> Iterator[int]:
    """Hold two, one after the other, while the context is open; gives the first.

    At all addresses: a server may listen at another one than 127.0.0.1.
    """
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(_held("", 0))
            try:
                stack.enter_context(_held("", number_of(first) + 1))
            except (OSError, OverflowError):
                continue
            yield number_of(first)
            return
