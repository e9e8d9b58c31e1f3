"""A connection whose requests get the values of secrets: TLS ends at the proxy, and begins anew to the server."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from agentd.sandbox.egress.dial import Streams
from agentd.sandbox.egress.head import LARGEST, BadRequestError, Head, parse_head, parse_trailers
from agentd.sandbox.egress.placeholders import Mask, Substitution, put_in
from agentd.sandbox.egress.tunnel import CHUNK, pass_on

HEAD_LIMIT: Final = 10.0
"""Seconds for a head that has begun to be whole."""
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")


class Interception:
    """One connection to one host.

    Parameters
    ----------
    host, port
        What the client asked for.
    substitutions
        Gives the secrets that are for it, as they are now.
    """

    def __init__(self, host: str, port: int, substitutions: Callable[[], Sequence[Substitution]]) -> None:
        self._host, self._port = host, port
        self._substitutions = substitutions
        self._mask = Mask()

    async def run(self, client: Streams, server: Streams) -> None:
        """Pass requests and answers on, until either side ends."""
        requests = asyncio.create_task(self._requests(client[0], server[1]))
        answers = asyncio.create_task(self._answers(server[0], client[1]))
        try:
            await asyncio.wait([requests, answers], return_when=asyncio.FIRST_COMPLETED)
            if requests.done():
                await requests
        except BadRequestError as error:
            client[1].write(answer(error))
            await client[1].drain()
        finally:
            for task in (requests, answers):
                task.cancel()
            await asyncio.gather(requests, answers, return_exceptions=True)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(self._mask.take(data))
            await writer.drain()
        writer.write(self._mask.rest())
        await writer.drain()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await self._head(reader)) is not None:
            length = head.length
            passed, put = put_in(head.passed_on(), self._substitutions())
            self._mask.add(put)
            writer.write(passed.dump())
            if head.wants_websocket:
                await pass_on(reader, writer)
                return
            if length is None:
                await _pass_chunks(reader, writer)
            else:
                await _pass_length(reader, writer, length)
            await writer.drain()

    async def _head(self, reader: asyncio.StreamReader) -> Head | None:
        try:
            # However long that takes: an answer may go on for hours.
            first = await reader.readexactly(1)
            async with asyncio.timeout(HEAD_LIMIT):
                head = parse_head(first + await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            return None
        except TimeoutError:
            raise BadRequestError("408 Request Timeout", "the request was not sent in time") from None
        except asyncio.LimitOverrunError:
            raise BadRequestError("431 Request Header Fields Too Large", f"over {LARGEST} bytes") from None
        self._check(head)
        return head

    def _check(self, head: Head) -> None:
        if not head.target.startswith(b"/") and (head.method, head.target) != (b"OPTIONS", b"*"):
            raise BadRequestError("400 Bad Request", "expected a path as the target of a request")
        if head.method in (b"TRACE", b"TRACK", b"CONNECT"):
            # An answer to TRACE repeats the request, with the secret.
            raise BadRequestError("405 Method Not Allowed", f"{head.method.decode()} is not passed on")
        expected = {self._host.encode(), b"%s:%d" % (self._host.encode(), self._port)}
        if [value.lower() for value in head.values(b"host")] not in [[each] for each in expected]:
            raise BadRequestError("421 Misdirected Request", f"expected one Host field, {self._host}")


async def _pass_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length:
        data = await reader.read(min(length, CHUNK))
        if not data:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(data)
        writer.write(data)
        await writer.drain()


async def _pass_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass a body on in chunks, written anew: so there is one way to read them."""
    while True:
        match = _CHUNK_SIZE.fullmatch(await reader.readuntil(b"\r\n"))
        if match is None:
            raise BadRequestError("400 Bad Request", "the size of a chunk is malformed")
        size = int(match[1], 16)
        if size == 0:
            break
        writer.write(b"%x\r\n" % size)
        await _pass_length(reader, writer, size)
        if await reader.readexactly(2) != b"\r\n":
            raise BadRequestError("400 Bad Request", "a chunk is longer than its size")
        writer.write(b"\r\n")
    trailers = b""
    while not trailers.endswith(b"\r\n\r\n") and trailers != b"\r\n":
        trailers += await reader.readuntil(b"\r\n")
        if len(trailers) > LARGEST:
            raise BadRequestError("431 Request Header Fields Too Large", f"over {LARGEST} bytes")
    parse_trailers(trailers)
    writer.write(b"0\r\n" + trailers)


def answer(error: BadRequestError) -> bytes:
    """Write the answer that says why there is no other."""
    text = f"agentd: {error}\n".encode()
    return (
        f"HTTP/1.1 {error.status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + text


def server_context(identity: str, host: str) -> ssl.SSLContext:
    """Make ready to be a server, by HTTP/1.1 alone.

    Parameters
    ----------
    identity
        Path of a file with the key and the certificates.
    host
        The only one that a client may ask for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    context.set_alpn_protocols(["http/1.1"])

    def check(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        if name is not None and name.lower().removesuffix(".") != host:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None

    context.sni_callback = check
    return context
