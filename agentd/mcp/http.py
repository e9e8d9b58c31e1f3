"""The same server by HTTP, on loopback alone."""

from __future__ import annotations

import hmac
import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
import uvicorn
from mcp.server.lowlevel import Server
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from agentd.mcp.address import Address

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PATH: Final = "/mcp"

_GOODBYE: Final = 2
"""Seconds for open streams to end."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """An application that asks for a token."""

    app: ASGIApp
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let those in who have it."""
        if scope["type"] != "http" or self._has_token(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        answer = JSONResponse(
            {"error": {"code": "unauthorized", "message": "expected the header Authorization: Bearer TOKEN"}},
            HTTPStatus.UNAUTHORIZED,
            {"WWW-Authenticate": "Bearer"},
        )
        await answer(scope, receive, send)

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())


def listen(address: Address) -> socket.socket:
    """Listen there; port 0 is one that is free.

    Raises
    ------
    OSError
        If that is not possible.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family)


def url_of(listening: socket.socket) -> str:
    """Say where a host finds the server."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


async def serve_http(server: Server[dict[str, object]], listening: socket.socket, token: str | None) -> None:
    """Serve until a signal.

    Parameters
    ----------
    token
        ``None`` lets in every user of this machine.
    """
    # Of localhost, whatever it listens on: it refuses other names in Host and Origin then.
    app: ASGIApp = server.streamable_http_app(streamable_http_path=PATH, host="127.0.0.1")
    if token is not None:
        app = Guarded(app, token)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_GOODBYE, lifespan="on")
    await uvicorn.Server(config).serve([listening])
