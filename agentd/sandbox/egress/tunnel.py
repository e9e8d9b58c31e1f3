"""A connection that is passed on as it is, after a look at the name that its TLS asks for."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from agentd.sandbox.egress.client_hello import HANDSHAKE, NotTlsError, record_size, server_name
from agentd.sandbox.egress.dial import RefusedError, Streams

CHUNK = 64 * 1024
_HELLO_LIMIT = 10.0
"""Seconds for a ClientHello that has begun to be whole."""


async def tunnel(client: Streams, server: Streams, host: str) -> None:
    """Pass bytes on in both directions until both sides have ended.

    Raises
    ------
    RefusedError
        If the client asks another host for TLS than it asked the proxy for.
    """
    both = [
        asyncio.create_task(_pass_on_checked(client[0], server[1], host)),
        asyncio.create_task(pass_on(server[0], client[1])),
    ]
    try:
        await asyncio.gather(*both)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the reader's side ends."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


def hang_up(writer: asyncio.StreamWriter) -> None:
    """End a connection without a word: TLS would wait for the other side's last one.

    Not by the transport's ``abort``, which in Python 3.11.2 lacks an argument of its own. Where TLS has ended,
    asyncio's transport has no protocol to ask for the socket.
    """
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


async def _pass_on_checked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
    first = await reader.read(1)
    if first and first[0] == HANDSHAKE:
        try:
            async with asyncio.timeout(_HELLO_LIMIT):
                first += await reader.readexactly(4)
                first += await reader.readexactly(record_size(first) - len(first))
            name = server_name(first)
        except (NotTlsError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise RefusedError(f"what was sent to {host} begins like TLS and is none: {error}") from error
        if name is not None and name != host:
            raise RefusedError(f"a connection to {host} asked for the host {name} in its TLS")
    if first:
        writer.write(first)
        await writer.drain()
    await pass_on(reader, writer)
