"""Serving the application on a Unix socket, so that no client can hold up the daemon."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMethod

from agentd.api.connection import NO_ACCESS_LOG, Listening, is_left, set_up
from agentd.api.metrics import OPEN_CONNECTIONS
from agentd.api.responses import error_response, method_not_allowed, raised_error
from agentd.api.streams import STREAMS, Streams

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_END_OF_REQUEST_LINE = re.compile(r" HTTP/1\.[01]['\"]")
"""As the parser quotes it. Searched in linear time: what is quoted may be 256 KiB."""


_AT_ONCE = memoryview(bytearray(4 << 10))
"""What is read at once. asyncio would read 256 KiB, which stay with the parser, in the queue of requests and
in the traceback of each error: 500 clients made agentd grow by up to 1.9 GB."""
_REFUSED = memoryview(bytearray(256 << 10))
"""What is read of a connection that was refused, to be dropped."""

_ROUNDS_UNTIL_READ = 2
"""Of the event loop: one polls, and in the next all is read that it found."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What clients may hold of the daemon; times are seconds."""

    connections: int = 512
    """Past this the connection that was silent the longest is closed. Half of the usual limit of 1024 files."""
    unanswered: int = 2 << 20
    """Bytes of requests without an answer, of all clients: past this the connection with the most is closed. In memory
    headers take twice as much, and what is no request ten times, as the parser quotes it."""
    idle: float = 30.0
    """For a request to arrive, headers complete, from the connection or the answer before it."""
    unread_body: float = 1.0
    """For the rest of a body that nobody asked for."""
    answer: float = 10.0
    """For the client to take an answer, or something of a stream."""
    streams: int = 128
    """Answers that go on, at once; their connections are not closed for being silent."""
    shutdown: float = 0.1
    """Each for handlers, their connections and the last bytes, when the server stops."""


@asynccontextmanager
async def serve(
    app: web.Application, sock: socket.socket, limits: ClientLimits | None = None
) -> AsyncIterator[Callable[[socket.socket], Awaitable[None]]]:
    """Answer requests on a bound Unix stream socket while the context is open.

    Gives a function that takes another bound socket instead; connections that are open stay.

    The socket is closed at the end, whatever clients do within three times ``limits.shutdown``; its file stays the
    caller's to remove.
    """
    limits = limits or ClientLimits()
    connections = _Connections(limits)
    streams = app[STREAMS] = Streams(limits.streams, limits.answer)
    app[OPEN_CONNECTIONS] = lambda: connections.count
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=limits.shutdown)
    server = await set_up(runner)
    try:
        listening = Listening(lambda: _Connection(server, connections, limits))
        await listening.listen(sock)
        try:
            yield listening.listen
        finally:
            listening.close()
            streams.end()
    finally:
        await runner.cleanup()
        await connections.close(limits.shutdown)


class _Connections:
    """The open connections, the one silent for longest first."""

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self._open: dict[_Connection, None] = {}
        self._unanswered = 0
        self._none_left = asyncio.Event()
        self._none_left.set()

    @property
    def count(self) -> int:
        return len(self._open)

    def add(self, connection: _Connection) -> None:
        self._open[connection] = None
        self._none_left.clear()
        if len(self._open) > self._limits.connections:
            oldest = next((each for each in self._open if each.on_stream_lost is None), connection)
            self._abort(oldest, "too many connections", self._limits.connections)

    def heard(self, connection: _Connection, size: int) -> bool:
        """Count what was read; says whether the connection may go on."""
        connection.unanswered += size
        self._unanswered += size
        if self._unanswered > self._limits.unanswered:
            most = max(self._open, key=lambda each: each.unanswered)
            self._abort(most, "too much without an answer", self._limits.unanswered)
        return connection in self._open

    def answers(self, connection: _Connection, size: int) -> None:
        """A request of so many bytes is about to be answered."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None
            size = min(size, connection.unanswered)
            connection.unanswered -= size
            self._unanswered -= size

    def _abort(self, connection: _Connection, reason: str, limit: int) -> None:
        _log.debug("api_connection_closed", reason=reason, limit=limit)
        self.discard(connection)
        connection.abort()

    def discard(self, connection: _Connection) -> None:
        if connection in self._open:
            del self._open[connection]
            self._unanswered -= connection.unanswered
        if not self._open:
            self._none_left.set()

    async def close(self, patience: float) -> None:
        """Give closing connections a moment to send their last bytes, then cut them off."""
        try:
            async with asyncio.timeout(patience):
                await self._none_left.wait()
        except TimeoutError:
            for connection in self._open:
                connection.abort()
            await self._none_left.wait()


class _Connection(web.RequestHandler, asyncio.BufferedProtocol):
    """aiohttp's connection with the API's errors and limits."""

    __slots__ = ("_answer_timeout", "_connections", "_refused", "_socket", "on_stream_lost", "unanswered")

    def __init__(self, server: web.Server, connections: _Connections, limits: ClientLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle,
            lingering_time=limits.unread_body,
            tcp_keepalive=False,
            access_log=NO_ACCESS_LOG,
            read_bufsize=len(_AT_ONCE),
            auto_decompress=False,  # nobody reads bodies
        )
        self._answer_timeout = limits.answer
        self._connections = connections
        self._socket: asyncio.BaseTransport | None = None
        self._refused = False
        self.on_stream_lost: Callable[[], None] | None = None
        self.unanswered = 0
        """Bytes of requests that it has not begun to answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport
        super().connection_made(transport)
        self._connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (of asyncio's protocol)
        return _REFUSED if self._refused else _AT_ONCE

    def buffer_updated(self, nbytes: int) -> None:
        if not self._refused and self._connections.heard(self, nbytes):
            self.data_received(bytes(_AT_ONCE[:nbytes]))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)
        if self.on_stream_lost is not None:
            self.on_stream_lost()

    def abort(self) -> None:
        """Close at once; unlike ``force_close`` without waiting for the client to take what is written."""
        if isinstance(self._socket, asyncio.Transport):
            self._socket.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; a client that does not take it in time is cut off."""
        self._connections.answers(self, _size(request))
        if isinstance(resp, web.HTTPException):  # here, as some are raised before any middleware runs
            resp = raised_error(resp)
        try:
            async with asyncio.timeout(self._answer_timeout):
                finished = await super().finish_response(request, resp, start_time)
                if self._refused:
                    # Closed with something unread, the connection would be reset before the client has read the answer.
                    for _ in range(_ROUNDS_UNTIL_READ):
                        await asyncio.sleep(0)
                return finished
        except TimeoutError:
            _log.warning("api_answer_not_read", path=request.path, seconds=self._answer_timeout)
            self.abort()
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request, or a handler's exception, which is logged and not shown."""
        if status == HTTPStatus.BAD_REQUEST:
            # All that follows would be refused, too. The traceback keeps what was read, in a cycle.
            self._refused = True
            if exc is not None:
                exc.__traceback__ = None
            response = _refusal(exc, message or "")
        elif isinstance(exc, UnicodeEncodeError) and not request.headers.get(hdrs.EXPECT, "").isascii():
            # aiohttp's own refusal quotes the header.
            response = raised_error(web.HTTPExpectationFailed())
        elif exc is not None and is_left(request, exc):
            # There is nobody to answer, and nothing to log.
            raise exc
        else:
            _log.error("api_request_failed", method=request.method, path=request.path, exc_info=exc or True)
            response = error_response(
                HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the daemon's log has the details"
            )
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer is already sent")
        return response


def _size(request: web.BaseRequest) -> int:
    """Bytes of a request up to its body, as most clients write it."""
    headers = sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers)
    return len(f"{request.method} {request.raw_path} HTTP/1.1\r\n\r\n") + headers


def _refusal(error: BaseException | None, message: str) -> web.Response:
    """Answer what is no request, or one with a method that the parser does not know."""
    if isinstance(error, BadHttpMethod) and _END_OF_REQUEST_LINE.search(message):
        return method_not_allowed()
    # The parser's sentence goes on to quote what it read, header values and all; of some targets it is all there is.
    reason = re.split(r"[:\n]", message, maxsplit=1)[0].strip()
    return error_response(HTTPStatus.BAD_REQUEST, f"bad request: {reason if ' ' in reason else 'Invalid target'}")
