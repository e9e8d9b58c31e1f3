"""Serving the front on its socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from agentd.api.connection import NO_ACCESS_LOG, Listening, is_left, set_up
from agentd.api.socket_file import Listen

_SHUTDOWN: Final = 0.1
"""Seconds for what is being answered, when the server stops."""


@asynccontextmanager
async def serve(app: web.Application, bound: socket.socket) -> AsyncIterator[Listen]:
    """Answer on a bound socket while the context is open; for `agentd.api.socket_file.ApiSocket`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN)
    server = await set_up(runner)
    loop = asyncio.get_running_loop()
    listening = Listening(lambda: _Connection(server, loop=loop, access_log=NO_ACCESS_LOG))
    try:
        await listening.listen(bound)
        yield listening.listen
    finally:
        listening.close()
        await runner.cleanup()


class _Connection(web.RequestHandler):
    """aiohttp's connection, which does not log clients that have gone."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer as aiohttp does, where there is somebody to answer."""
        if exc is not None and is_left(request, exc):
            raise exc
        return super().handle_error(request, status, exc, message)
