"""The application: the order in which a request is checked, and what every answer carries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from weakref import WeakValueDictionary

import structlog
from aiohttp import hdrs, web

from agentd.gateway.channels.owner import Channels
from agentd.gateway.engine.engine import Engine
from agentd.gateway.http.access import ACCESS, Handler, allowed_origin, check_browser, check_token
from agentd.gateway.http.body import LARGEST
from agentd.gateway.http.errors import ApiError, error_response, invalid, of_aiohttp, of_engine
from agentd.gateway.http.guard import Access
from agentd.gateway.http.headers import add_headers
from agentd.gateway.http.idempotent import IN_TURN
from agentd.gateway.http.metrics import METRICS, Metrics, measure
from agentd.gateway.http.openapi import DOCUMENT, Document
from agentd.gateway.http.route import API_PREFIX, CHANNELS, CLOSING, ENGINE, ROUTE_OF, Route, mount
from agentd.gateway.model.errors import DatabaseUnavailableError, GatewayError

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def build_app(
    access: Access,
    engine: Engine,
    routes: Iterable[Route],
    *,
    doubled: Iterable[Route] = (),
    channels: Channels | None = None,
) -> web.Application:
    """Make the application.

    Parameters
    ----------
    access
        Who is let in.
    routes
        What is served.
    doubled
        What is served at the root and below `API_PREFIX`.
    channels
        Messages by brokers, if there are any.
    """
    app = web.Application(middlewares=[measure, _answer_errors, check_browser, check_token], client_max_size=LARGEST)
    app[ACCESS] = access
    app[CHANNELS] = channels or Channels.none()
    app[CLOSING] = asyncio.Event()
    app[ENGINE] = engine
    app[IN_TURN] = WeakValueDictionary()
    app[METRICS] = Metrics()
    app[ROUTE_OF] = {}
    doubled, routes = tuple(doubled), tuple(routes)
    app[DOCUMENT] = Document((*doubled, *routes))
    mount(app, doubled)
    mount(app, doubled, API_PREFIX)
    mount(app, routes)
    app.on_response_prepare.append(_add_headers)
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.app[CLOSING].is_set():
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "the gateway stops: try again soon")
        # No name and no parameter holds it, and no database takes it.
        if "\0" in request.path:
            raise web.HTTPNotFound
        if any("\0" in name + value for name, value in request.query.items()):
            raise invalid("found a parameter with a NUL character, expected one without")
        return await handler(request)
    except DatabaseUnavailableError as error:
        # Which one it is, and what it says, is not for clients.
        _log.error("database_unavailable", method=request.method, path=request.path, reason=str(error))
        return _error(request, of_engine(type(error)("the database does not do it now: try again soon")))
    except GatewayError as error:
        return _error(request, of_engine(error))
    except ApiError as error:
        return _error(request, error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _error(request, of_aiohttp(error))


def _error(request: web.Request, error: ApiError) -> web.Response:
    if request.writer.output_size > 0:
        raise ConnectionResetError(f"a part of another answer is already sent: {error}")
    return error_response(request.path, error)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    add_headers(response)
    if request.app[ACCESS].origins:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    origin = allowed_origin(request)
    if origin is not None:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
