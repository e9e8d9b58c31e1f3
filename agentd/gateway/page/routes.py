"""The page's routes: its files, and what it shows beside conversations."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import quote

from aiohttp import StreamReader, hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from agentd.api.client.socket import RefusedError
from agentd.gateway.http.access import caller
from agentd.gateway.http.body import read_body, read_query
from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.route import ENGINE, Route
from agentd.gateway.model.objects import Json, JsonObject
from agentd.gateway.page.files import PAGE, static_files
from agentd.gateway.page.markdown import html_of
from agentd.gateway.talk.agentd import without_search
from agentd.gateway.talk.definitions import OWN
from agentd.model.gateway import Scope

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and nothing that stands in the page itself."""

_SHOWN: Final = ("name", "harness", "state", "running", "activity", "activity_since")
_SHOWN_TO_ADMINISTRATORS: Final = (*_SHOWN, "activity_text")
"""What an agent asks may be about what somebody else told it."""

_LONGEST: Final = 1 << 20
"""Bytes of a screen or log."""


class _Texts(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    texts: Annotated[list[str], Field(max_length=1000)]
    """Markdown, each a text of its own."""


class _LogQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    tail: Annotated[int, Field(ge=1, le=10_000)] = 500
    """The last so many lines."""


async def _page(_request: web.Request) -> web.Response:
    return _file(_request, PAGE)


async def _static(request: web.Request) -> web.Response:
    return _file(request, request.match_info["name"])


def _file(request: web.Request, name: str) -> web.Response:
    found = static_files().get(name)
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", f"there is no file {name[:80]!r}")
    headers = {
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.ETAG: f'"{found.tag}"',
        "Content-Security-Policy": CONTENT_POLICY,
        "X-Frame-Options": "DENY",
    }
    if request.if_none_match is not None and any(each.value == found.tag for each in request.if_none_match):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=found.content, content_type=found.content_type, charset="utf-8", headers=headers)


async def _agents(request: web.Request) -> web.Response:
    found = await request.app[ENGINE].agentd.socket.ask("GET", "/v1/agents")
    hidden = await request.app[ENGINE].hidden_agents(caller(request))
    shown = _SHOWN_TO_ADMINISTRATORS if caller(request).sees_all else _SHOWN
    agents: list[Json] = [
        {name: agent.get(name) for name in shown}
        for agent in (found if isinstance(found, list) else [])
        if isinstance(agent, dict)
        and not OWN.fullmatch(name_ := str(agent.get("name")))
        and name_.lower() not in hidden
    ]
    return web.json_response({"agents": agents})


async def _agent_screen(request: web.Request) -> web.Response:
    return await _text(request, request.match_info["name"], "screen?format=ansi")


async def _agent_log(request: web.Request) -> web.Response:
    query = read_query(request, _LogQuery)
    return await _text(request, request.match_info["name"], f"log?tail={query.tail}")


async def _session_screen(request: web.Request) -> web.Response:
    return await _text(request, await _agent_of(request), "screen?format=ansi")


async def _session_log(request: web.Request) -> web.Response:
    query = read_query(request, _LogQuery)
    return await _text(request, await _agent_of(request), f"log?tail={query.tail}")


async def _agent_of(request: web.Request) -> str:
    """Find the agent that holds a session of the caller's.

    Raises
    ------
    ApiError
        403 if it is an agent's own conversation, whose terminal shows what others say there, too; 404 if the agent is
        not there now.
    """
    who = caller(request)
    session = (await request.app[ENGINE].sessions.get(who, request.match_info["id"])).session
    # Nobody else speaks in the terminal of an agent that the user made.
    own = OWN.fullmatch(session.tmux_session) or await request.app[ENGINE].managed.made_by(who, session.tmux_session)
    if not who.sees_all and not own:
        raise ApiError(HTTPStatus.FORBIDDEN, "forbidden", "the agent's own terminal is shown to administrators alone")
    found = await request.app[ENGINE].agentd.socket.ask("GET", "/v1/agents")
    for agent in found if isinstance(found, list) else []:
        if isinstance(agent, dict) and agent.get("session") == session.tmux_session:
            return str(agent.get("name"))
    raise ApiError(HTTPStatus.NOT_FOUND, "not_found", "its agent is not running: the next message starts it")


async def _text(request: web.Request, name: str, what: str) -> web.Response:
    path, _, query = what.partition("?")
    option, _, value = query.partition("=")
    try:
        async with request.app[ENGINE].agentd.socket.stream(
            f"/v1/agents/{quote(name, safe='')}/{path}", {option: value}
        ) as answer:
            text = await _at_most(answer, _LONGEST)
    except RefusedError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", without_search(str(error))) from None
    return web.Response(body=text, content_type="text/plain", charset="utf-8")


async def _at_most(answer: StreamReader, most: int) -> bytes:
    read = bytearray()
    while len(read) < most and (part := await answer.read(most - len(read))):
        read += part
    return bytes(read)


async def _markdown(request: web.Request) -> web.Response:
    body = await read_body(request, _Texts)
    html = await asyncio.to_thread(lambda: [html_of(text) for text in body.texts])
    answer: JsonObject = {"html": list(html)}
    return web.json_response(answer)


ROUTES: Final = (
    Route("GET", "/", _page, "The page", scope=None, media_type="text/html", shown=False),
    Route("GET", "/static/{name}", _static, "A file of the page", scope=None, shown=False),
    Route("GET", "/page/agents", _agents, "The agents and what they do", shown=False),
    Route("GET", "/page/agents/{name}/screen", _agent_screen, "A terminal", scope=Scope.ADMIN, shown=False),
    Route("GET", "/page/agents/{name}/log", _agent_log, "An agent's output", scope=Scope.ADMIN, shown=False),
    Route("GET", "/page/sessions/{id}/screen", _session_screen, "A session's terminal", shown=False),
    Route("GET", "/page/sessions/{id}/log", _session_log, "A session's output", shown=False),
    Route("POST", "/page/markdown", _markdown, "HTML of Markdown", takes=_Texts, shown=False),
)
