"""Who may ask: the host and origin of a request, its token, and what that is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web

from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.guard import Access
from agentd.gateway.http.hosts import is_own, is_same_origin
from agentd.gateway.http.route import ROUTE_OF, Route
from agentd.gateway.model.caller import NOBODY, Caller
from agentd.model.gateway import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
_ORIGIN: web.RequestKey[str] = web.RequestKey("origin", str)
_SCHEME: Final = "bearer"

_CORS_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
_CORS_SECONDS: Final = "600"


ACCESS: web.AppKey[Access] = web.AppKey("access")


def caller(request: web.Request) -> Caller:
    """Give who sent a request that was let in."""
    return request[_CALLER]


@web.middleware
async def check_browser(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of somebody else's made a browser send."""
    access = request.app[ACCESS]
    local = _local_address(request)
    host = request.headers.get(hdrs.HOST, "")
    if local is not None and not is_own(host, local, access.hosts):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            "the Host header names another server: use an address that the gateway listens on, or add the name to "
            "hosts in [gateway]",
        )
    # More than one is of no browser, and of no origin.
    origins = request.headers.getall(hdrs.ORIGIN, [])
    origin = ", ".join(origins) if origins else None
    if origin is None or is_same_origin(origin, host):
        return await handler(request)
    if origin in access.origins:
        return await _answer_elsewhere(request, handler, origin)
    if not _without_effect(request):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            "the request comes from a page of another origin; name the origin in origins in [gateway] to allow it",
        )
    return await handler(request)


async def _answer_elsewhere(request: web.Request, handler: Handler, origin: str) -> web.StreamResponse:
    request[_ORIGIN] = origin
    if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        return web.Response(
            status=HTTPStatus.NO_CONTENT,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST, DELETE",
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _CORS_HEADERS,
                hdrs.ACCESS_CONTROL_MAX_AGE: _CORS_SECONDS,
            },
        )
    return await handler(request)


def allowed_origin(request: web.Request) -> str | None:
    """Give the origin elsewhere that the answer is for, if it is one that is allowed."""
    return request.get(_ORIGIN)


def _without_effect(request: web.Request) -> bool:
    # Any page may open a WebSocket, and read what comes.
    return request.method == hdrs.METH_GET and hdrs.UPGRADE not in request.headers


def _local_address(request: web.Request) -> str | None:
    """Give the address at which the connection arrived; ``None`` on a Unix socket, which no browser reaches."""
    name = request.get_extra_info("sockname")
    return str(name[0]) if isinstance(name, tuple) else None


@web.middleware
async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who asks, and refuse what they may not do."""
    route = request.app[ROUTE_OF].get(request.match_info.route)
    access = request.app[ACCESS]
    if access.guarded and route is not None and route.scope is None:
        return await handler(request)
    who = request[_CALLER] = _identify(request, access, route) if access.guarded else NOBODY
    with access.holding(request, who):
        return await handler(request)


def _identify(request: web.Request, access: Access, route: Route | None) -> Caller:
    shown = _shown(request)
    found = None if shown is None else access.caller_of(shown)
    if found is None:
        _log.info("gateway_unauthorized", method=request.method, path=request.path, token_shown=shown is not None)
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "unauthorized",
            "expected a valid token: send the header Authorization: Bearer TOKEN",
            headers={hdrs.WWW_AUTHENTICATE: "Bearer"},
        )
    scope = Scope.READ if route is None or route.scope is None else route.scope
    if not found.may(scope):
        raise ApiError(HTTPStatus.FORBIDDEN, "forbidden", f"the token is not for this: it lacks the scope {scope}")
    return found


def _shown(request: web.Request) -> str | None:
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(given) != 1:
        return None
    scheme, _, token = given[0].partition(" ")
    return token.strip() if scheme.casefold() == _SCHEME and token.strip() else None
