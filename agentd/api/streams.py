"""Answers that go on: sent piece by piece for as long as the client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Protocol, cast

import structlog
from aiohttp import hdrs, web

from agentd.api.responses import error_response

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class StreamingConnection(Protocol):
    """What a stream needs of the connection that carries it."""

    on_stream_lost: Callable[[], None] | None
    """Called when the client has gone. While it is set, the connection is not closed for being silent."""

    def abort(self) -> None:
        """Close at once."""
        ...


class Streams:
    """The streams that a server has open.

    Parameters
    ----------
    limit
        How many there may be at once.
    patience
        Seconds in which a client has to take something of what waits for it.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self.limit = limit
        self.patience = patience
        self._open: set[Callable[[], None]] = set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether there may be no more."""
        return len(self._open) >= self.limit

    def add(self, end: Callable[[], None]) -> None:
        """Count a stream; `end` ends it."""
        self._open.add(end)

    def discard(self, end: Callable[[], None]) -> None:
        """Count a stream no more."""
        self._open.discard(end)

    def end(self) -> None:
        """End every stream, as if its pieces had come to their end: the server stops."""
        for end in tuple(self._open):
            end()


STREAMS: web.AppKey[Streams] = web.AppKey("streams")


async def stream(
    request: web.Request,
    pieces: AsyncGenerator[bytes, None],
    media_type: str,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with pieces as they come, until they end, the client leaves or takes nothing, or the server stops.

    The generator is closed in each case, so that it can let go of what it holds. It is not asked for a piece before
    the client has taken nearly all former ones: some 128 KiB are held for it, and the piece on its way.
    """
    async with aclosing(pieces):
        streams = request.app[STREAMS]
        if streams.full:
            return error_response(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there are {streams.limit} streams already, the most there may be: end one, or try again later",
                {hdrs.RETRY_AFTER: "1"},
            )
        response = web.StreamResponse(status=status, headers={hdrs.CACHE_CONTROL: "no-store", **(headers or {})})
        response.headers[hdrs.CONTENT_TYPE] = media_type
        connection = cast("StreamingConnection", request.protocol)
        # Whoever ends the stream sets this to now.
        scope = asyncio.timeout(None)

        def end() -> None:
            if not scope.expired():
                scope.reschedule(asyncio.get_running_loop().time())

        try:
            async with scope:
                connection.on_stream_lost = end
                streams.add(end)
                try:
                    await _send_all(request, response, pieces, streams.patience)
                finally:
                    streams.discard(end)
                    connection.on_stream_lost = None
        except TimeoutError:
            if not scope.expired():
                raise
        return response


async def _send_all(
    request: web.Request, response: web.StreamResponse, pieces: AsyncGenerator[bytes, None], patience: float
) -> None:
    try:
        await response.prepare(request)
    except ConnectionError:
        # It asked, and went away before anybody could answer.
        return
    if request.method == hdrs.METH_HEAD:
        return
    async for piece in pieces:
        try:
            await _send(request, response, piece, patience)
        except ConnectionError:
            return
        except _TakesNothingError:
            _log.warning("api_stream_not_read", path=request.path, seconds=patience)
            cast("StreamingConnection", request.protocol).abort()
            return


class _TakesNothingError(Exception):
    """The client reads nothing of what waits for it."""


async def _send(request: web.Request, response: web.StreamResponse, piece: bytes, patience: float) -> None:
    """Send a piece to a client that takes something at least once in `patience` seconds, however slowly.

    Raises
    ------
    _TakesNothingError
        If it does not.
    ConnectionError
        If it has gone.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    scope = asyncio.timeout(None)
    watch = _Watch(transport, scope, patience)
    try:
        async with scope:
            watch.look()
            try:
                await response.write(piece)
            finally:
                watch.end()
    except TimeoutError:
        if not scope.expired():
            raise
        raise _TakesNothingError from None


class _Watch:
    """Looks from time to time whether what waits for a client has become less, and ends the waiting if not."""

    def __init__(self, transport: asyncio.WriteTransport, scope: asyncio.Timeout, patience: float) -> None:
        self._transport = transport
        self._scope = scope
        self._patience = patience
        self._waiting: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        loop, before = asyncio.get_running_loop(), self._waiting
        # At the first look the piece is not written yet.
        self._waiting = self._transport.get_write_buffer_size() if self._timer is not None else None
        if before is not None and self._waiting is not None and self._waiting >= before:
            self._scope.reschedule(loop.time())
        else:
            self._timer = loop.call_later(self._patience, self.look)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
