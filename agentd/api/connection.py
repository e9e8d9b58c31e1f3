"""What every server of ours tells aiohttp's runner and connections."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

NO_ACCESS_LOG: Final = logging.getLogger(f"{__name__}.access")
"""aiohttp formats a line for each request unless its logger is off."""
NO_ACCESS_LOG.setLevel(logging.CRITICAL + 1)

_BACKLOG: Final = 128


async def set_up(runner: web.AppRunner) -> web.Server:
    """Set up a runner, and give the server that its connections belong to."""
    await runner.setup()
    if runner.server is None:
        raise RuntimeError("aiohttp's AppRunner made no server in setup()")
    return runner.server


class Listening:
    """Listens on one bound socket at a time; connections that are open stay when it is another.

    Parameters
    ----------
    connection
        Makes a connection's protocol.
    """

    def __init__(self, connection: Callable[[], asyncio.BaseProtocol]) -> None:
        self._connection = connection
        self._server: asyncio.Server | None = None

    async def listen(self, bound: socket.socket) -> None:
        """Listen on this socket, instead of the one before."""
        former = self._server
        # Not create_unix_server: from Python 3.13 that one removes the socket's file, which is the caller's.
        self._server = await asyncio.get_running_loop().create_server(self._connection, sock=bound, backlog=_BACKLOG)
        if former is not None:
            former.close()

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()


def is_left(request: web.BaseRequest, error: BaseException) -> bool:
    """Tell whether a request failed for want of its client, which is no defect of the server.

    aiohttp finds it in any write, also in that of ``100 Continue``, which comes before every handler and middleware.

    Parameters
    ----------
    request
        The request that failed.
    error
        What it failed with.
    """
    lost = request.writer.output_size > 0 or request.transport is None or request.transport.is_closing()
    return isinstance(error, ConnectionError) and lost
