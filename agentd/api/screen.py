"""``GET /v1/agents/{name}/screen``: what an agent's terminal shows now."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from agentd.api.query import QueryError, only, wrong
from agentd.api.responses import error_response, json_response
from agentd.api.route import AGENT_NAME, Parameter, Route
from agentd.api.views import SCREEN
from agentd.model.screen import NoScreenError, ScreenSource

SCREENS: web.AppKey[ScreenSource] = web.AppKey("screens")

FORMATS = ("text", "ansi", "json")


async def _screen(request: web.Request) -> web.StreamResponse:
    try:
        only(request.query, ("format",))
        wanted = request.query.get("format", "text")
        if wanted not in FORMATS:
            raise wrong("format", ", ".join(FORMATS), wanted)
    except QueryError as error:
        return error_response(HTTPStatus.BAD_REQUEST, str(error))
    try:
        screen = await request.app[SCREENS].screen(request.match_info["name"], styled=wanted == "ansi")
    except NoScreenError as error:
        return error_response(HTTPStatus.CONFLICT, str(error))
    if screen is None:
        return error_response(HTTPStatus.NOT_FOUND, "agent not found")
    if wanted == "json":
        return json_response(SCREEN.encode(screen))
    return web.Response(text="".join(f"{line}\n" for line in screen.lines), content_type="text/plain", charset="utf-8")


SCREEN_ROUTE = Route(
    "/v1/agents/{name}/screen",
    "getScreen",
    "What the terminal of an agent shows now",
    _screen,
    SCREEN,
    texts={"text/plain; charset=utf-8": "A row a line; with `format=ansi` with escape sequences for colours."},
    parameters=AGENT_NAME,
    query={"format": Parameter("`text` (the default), `ansi`, or `json`.", {"type": "string", "enum": [*FORMATS]})},
    errors={
        HTTPStatus.BAD_REQUEST: "A parameter cannot be used.",
        HTTPStatus.NOT_FOUND: "There is no agent of this name.",
        HTTPStatus.CONFLICT: "The agent has no terminal now.",
    },
)
