"""Serves hooks and those who talk to agents, on a Unix socket: one short HTTP request a connection.

Not the API's server: that is read-only and takes no bodies. Whoever connects is known by the kernel's account, refused
at once if they have no business here, and bounded in what they may send, hold and ask for.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import structlog

from agentd.text.messages import LARGEST_IN_JSON
from agentd.turns.peers import Peer, peer_of

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a socket takes at once."""

    connections: int = 1024
    in_memory: int = 16 << 20
    """Bytes of all bodies."""


MOST_OF_ONE = 128
"""Connections of one process at once, as far as its pid tells."""

LONGEST_BODY = LARGEST_IN_JSON + 4096
"""Bytes of a body that is read: the largest message, and what else belongs to it."""
_LONGEST_DRAINED = 64 << 20
_LONGEST_HEAD = 16 * 1024
_REQUEST_LIMIT = 5.0
"""Seconds for a request to arrive, whole."""
_ANSWER_LIMIT = 5.0

MOST_STREAMS = 1024
"""Streams at once, which are not counted among the connections."""
_READ_LIMIT = 30.0
"""Seconds for a follower to read what was written to it."""

_LINE = re.compile(rb"(GET|POST|DELETE) (/[!-~]{0,1000}) HTTP/1\.([01])\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request."""

    peer: Peer
    method: str
    path: str
    body: bytes | None
    """``None`` if it was not read."""
    too_long: bool = False
    """Whether that is why; else too much is being asked at once."""
    takes_chunks: bool = True
    """Whether the answer may come in chunks."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to it."""

    status: HTTPStatus
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpStream:
    """An answer that goes on."""

    pieces: AsyncIterator[bytes]
    in_chunks: bool = True


Handler = Callable[[HttpRequest], Awaitable[HttpAnswer | HttpStream]]


class HookSocket:
    """Serves connections.

    Parameters
    ----------
    may_connect
        Whether a peer has any business here.
    handle
        Answers a request; cancelled if the peer goes away meanwhile.
    bounds
        What is taken at once.
    """

    def __init__(self, may_connect: Callable[[Peer], bool], handle: Handler, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._may_connect = may_connect
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._open = 0
        self._streams = 0
        self._of_one: Counter[int] = Counter()
        self._in_memory = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, bound: socket.socket) -> None:
        """Serve this bound socket, instead of the one before."""
        former = self._server
        self._server = await asyncio.start_unix_server(self._connected, sock=bound, limit=_LONGEST_HEAD, backlog=256)
        if former is not None:
            former.close()

    async def close(self) -> None:
        """Serve nobody any more."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._admit(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            # A peer that goes away, or never says what it wants, is no news.
            pass
        except asyncio.CancelledError:
            # By `close`. asyncio of Python 3.11 would log it as an error of its own.
            pass
        finally:
            writer.transport.abort()
            # Else the error that a connection ended with is logged as never retrieved, where the collector of garbage
            # comes to it before it comes to its stream.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        if not self._may_connect(peer):
            return
        if self._open >= self._bounds.connections or self._of_one[peer.pid] >= MOST_OF_ONE:
            await _send(writer, HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE))
            return
        self._open += 1
        self._of_one[peer.pid] += 1
        try:
            stream = await self._serve(peer, reader, writer)
        finally:
            self._open -= 1
            self._of_one[peer.pid] -= 1
            if not self._of_one[peer.pid]:
                del self._of_one[peer.pid]
        if stream is not None:
            await self._stream(stream, reader, writer)

    async def _stream(self, stream: HttpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams >= MOST_STREAMS:
            await _send(writer, HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE))
            return
        self._streams += 1
        writing = asyncio.ensure_future(_write_pieces(stream, writer))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([writing, gone], return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            self._streams -= 1
            await _end(writing, gone)

    async def _serve(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpStream | None:
        """Answer a request; what goes on is given back."""
        async with asyncio.timeout(_REQUEST_LIMIT):
            head = await reader.readuntil(b"\r\n\r\n")
            line, length = _LINE.match(head), _LENGTH.search(head)
            if line is None or (length is None and line[1] == b"POST"):
                expected = b"expected a GET, a DELETE, or a POST with Content-Length\n"
                await _send(writer, HttpAnswer(HTTPStatus.BAD_REQUEST, expected))
                return None
            size = 0 if length is None else int(length[1])
            if _EXPECTS.search(head):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            kept = size <= LONGEST_BODY and self._in_memory + size <= self._bounds.in_memory
            if not kept:
                await _drain(reader, size)
            self._in_memory += size if kept else 0
            try:
                body = await reader.readexactly(size) if kept else None
                too_long = size > LONGEST_BODY
                request = HttpRequest(peer, line[1].decode(), line[2].decode(), body, too_long, line[3] == b"1")
            except BaseException:
                self._in_memory -= size if kept else 0
                raise
        try:
            answer = await self._while_connected(request, reader)
        finally:
            self._in_memory -= size if kept else 0
        if isinstance(answer, HttpStream):
            return answer
        if answer is not None:
            await _send(writer, answer)
        return None

    async def _while_connected(
        self, request: HttpRequest, reader: asyncio.StreamReader
    ) -> HttpAnswer | HttpStream | None:
        """Have a request answered; ``None`` if the peer has gone."""
        handling = asyncio.ensure_future(self._handle(request))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([handling, gone], return_when=asyncio.FIRST_COMPLETED)
            return handling.result() if handling.done() else None
        finally:
            await _end(handling, gone)


async def _end(*tasks: asyncio.Future[T] | asyncio.Future[bytes]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        # Their errors are of a peer that has gone, or were raised already.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _write_pieces(stream: HttpStream, writer: asyncio.StreamWriter) -> None:
    """Write an answer piece by piece, in chunks where the peer knows them; source: RFC 9112, 7.1."""
    coding = b"Transfer-Encoding: chunked\r\n" if stream.in_chunks else b""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n%b"
        b"Cache-Control: no-store\r\nConnection: close\r\n\r\n" % coding
    )
    async for piece in stream.pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if stream.in_chunks else piece)
        async with asyncio.timeout(_READ_LIMIT):
            await writer.drain()
    async with asyncio.timeout(_ANSWER_LIMIT):
        writer.write(b"0\r\n\r\n" if stream.in_chunks else b"")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _drain(reader: asyncio.StreamReader, size: int) -> None:
    if size > _LONGEST_DRAINED:
        raise asyncio.LimitOverrunError("too long", size)
    while size > 0:
        piece = await reader.read(min(size, 1 << 16))
        if not piece:
            return
        size -= len(piece)


async def _send(writer: asyncio.StreamWriter, answer: HttpAnswer) -> None:
    status = answer.status
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: {len(answer.body)}\r\n"
        "Content-Type: application/json\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(_ANSWER_LIMIT):
        writer.write(head.encode() + answer.body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
