"""Serving the application on its sockets, so that no client holds what others need."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web

from agentd.api.connection import NO_ACCESS_LOG, is_left, set_up
from agentd.gateway.http.errors import ApiError, error_response, of_aiohttp
from agentd.gateway.http.headers import add_headers

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_BACKLOG: Final = 512


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients may hold of the gateway; times are seconds."""

    connections: int = 4096
    """At once; one more is closed at once."""
    idle: float = 60.0
    """For a request to arrive, headers complete, from the connection or the answer before it."""
    unread_body: float = 1.0
    """For the rest of a body that nobody asked for."""
    answer: float = 60.0
    """For the client to take an answer that is no stream."""
    shutdown: float = 1.0
    """For what is being answered, when the server stops; aiohttp waits twice as long."""


@asynccontextmanager
async def serve(
    app: web.Application, sockets: Iterable[socket.socket], limits: ServerLimits | None = None
) -> AsyncIterator[None]:
    """Answer requests on bound stream sockets while the context is open; they are closed at its end."""
    limits = limits or ServerLimits()
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=limits.shutdown)
    server = await set_up(runner)
    listening: list[asyncio.Server] = []
    try:
        loop = asyncio.get_running_loop()
        listening = [
            await loop.create_server(lambda: _Connection(server, limits), sock=each, backlog=_BACKLOG)
            for each in sockets
        ]
        yield
    finally:
        for each in listening:
            each.close()
        await runner.cleanup()


class _Connection(web.RequestHandler):
    """aiohttp's connection with the gateway's errors and limits."""

    __slots__ = ("_limits", "_server")

    def __init__(self, server: web.Server, limits: ServerLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle,
            lingering_time=limits.unread_body,
            access_log=NO_ACCESS_LOG,
            auto_decompress=False,  # a small body may decompress to a huge one
        )
        self._limits = limits
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._server.connections) >= self._limits.connections and isinstance(transport, asyncio.Transport):
            _log.warning("gateway_connections", limit=self._limits.connections)
            transport.abort()
        super().connection_made(transport)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; a client that does not take it in time is cut off."""
        try:
            async with asyncio.timeout(self._limits.answer):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            _log.warning("gateway_answer_not_read", path=request.path, seconds=self._limits.answer)
            if self.transport is not None:
                self.transport.abort()
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
            # The parser's sentence goes on to quote what it read, header values and all.
            reason = re.split(r"[:\n]", message or "", maxsplit=1)[0].strip()
            text = f"bad request: {reason if ' ' in reason else 'it is not HTTP'}"
            error = ApiError(HTTPStatus.BAD_REQUEST, "invalid_request", text)
            if exc is not None:
                # The traceback keeps what was read, in a cycle.
                exc.__traceback__ = None
        elif isinstance(exc, UnicodeEncodeError) and not request.headers.get(hdrs.EXPECT, "").isascii():
            # aiohttp's own refusal quotes the header.
            error = of_aiohttp(web.HTTPExpectationFailed())
        elif exc is not None and is_left(request, exc):
            # The client has gone, or takes nothing of its stream: there is nobody to answer, and nothing to log.
            raise exc
        else:
            _log.error("gateway_request_failed", method=request.method, path=request.path, exc_info=exc or True)
            text = "internal error; the gateway's log has the details"
            error = ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", text)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer is already sent")
        response = error_response(request.path, error)
        # What is no request comes by no application, which would do so.
        add_headers(response)
        response.force_close()
        return response
