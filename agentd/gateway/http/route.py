"""What one route of the interface is: who may use it, what it takes, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from pydantic import BaseModel

from agentd.gateway.channels.owner import Channels
from agentd.gateway.engine.engine import Engine
from agentd.model.gateway import Scope


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    """With ``{parameter}`` as aiohttp and OpenAPI both write it."""
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    summary: str
    """A short sentence without its full stop."""
    scope: Scope | None = Scope.READ
    """What the caller's token must be for; ``None`` lets everybody in."""
    takes: type[BaseModel] | None = None
    """The body."""
    query: type[BaseModel] | None = None
    """The parameters of the query."""
    status: HTTPStatus = HTTPStatus.OK
    """Of success."""
    answers: type | None = None
    """The body of success."""
    media_type: str = "application/json"
    """Of success."""
    streamed_as: str | None = None
    """Media type of success if the caller asks for a stream."""
    errors: Mapping[HTTPStatus, str] = field(default_factory=dict)
    """Description by status of the errors that not every route answers."""
    shown: bool = True
    """Whether ``/openapi.json`` names it."""


ENGINE: web.AppKey[Engine] = web.AppKey("engine", Engine)
"""What all routes ask."""

CHANNELS: web.AppKey[Channels] = web.AppKey("channels", Channels)
"""Messages by brokers."""

CLOSING: web.AppKey[asyncio.Event] = web.AppKey("closing", asyncio.Event)
"""Set when the gateway stops, before connections are closed."""

API_PREFIX: Final = "/api/v1"
"""Where sessions, runs and events are, beside the root."""

ROUTE_OF: web.AppKey[dict[web.AbstractRoute, Route]] = web.AppKey("route_of", dict)
"""The routes by aiohttp's own."""


def mount(app: web.Application, routes: Iterable[Route], prefix: str = "") -> None:
    """Serve routes, below a prefix."""
    for route in routes:
        mounted = replace(route, path=prefix + route.path)
        methods = (hdrs.METH_GET, hdrs.METH_HEAD) if route.method == hdrs.METH_GET else (route.method,)
        for method in methods:
            app[ROUTE_OF][app.router.add_route(method, mounted.path, route.handler)] = mounted
