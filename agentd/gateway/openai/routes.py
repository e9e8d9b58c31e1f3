"""The routes of ``/v1``: models and responses, and all others of OpenAI's interface."""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from agentd.gateway.http.access import caller
from agentd.gateway.http.body import read_json
from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.route import ENGINE, Route
from agentd.gateway.http.stream import MEDIA_TYPE
from agentd.gateway.ids import new_id
from agentd.gateway.openai import sse
from agentd.gateway.openai.chat_routes import CHAT_ROUTES
from agentd.gateway.openai.conversation_routes import CONVERSATION_ROUTES
from agentd.gateway.openai.objects import JsonObject, model
from agentd.gateway.openai.pages import PageQuery, page_of
from agentd.gateway.openai.refusal import parse
from agentd.gateway.openai.request import CreateResponse, check
from agentd.gateway.openai.responses import facts_of
from agentd.gateway.openai.said import items_of
from agentd.gateway.openai.stream import ResponseStream
from agentd.gateway.openai.turn import RESPONSES, answer, attended, begin, follow, repeatable, to_its_end
from agentd.gateway.openai.wanted import Wanted, agent_of, wanted_response
from agentd.gateway.store.responses import StoredResponse
from agentd.model.gateway import Scope


async def list_models(request: web.Request) -> web.Response:
    """Show the declared agents as models."""
    agents = await request.app[ENGINE].agents(caller(request))
    return web.json_response(
        {"object": "list", "data": [model(each.name, each.harness, int(each.since)) for each in agents]}
    )


async def get_model(request: web.Request) -> web.Response:
    """Show an agent as a model."""
    name = request.match_info["model"]
    agent, _ = agent_of(name)
    for each in await request.app[ENGINE].agents(caller(request)):
        if each.name == agent:
            return web.json_response(model(name, each.harness, int(each.since)))
    raise ApiError(HTTPStatus.NOT_FOUND, "model_not_found", f"The model '{name}' does not exist.", param="model")


async def create_response(request: web.Request) -> web.StreamResponse:
    """Make a turn."""
    body = await read_json(request)
    asked = parse(CreateResponse, body)
    check(asked)
    whole = not asked.stream and not asked.background
    wanted = wanted_response(asked, items_of(asked.input, new_id), repeatable(request, body) if whole else None)
    response, headers = await begin(request, wanted, body)
    if asked.stream:
        return await _stream(request, response, headers, wanted=wanted)
    if asked.background:
        # As it was when it was made, also if it is under way by now.
        return web.json_response(ResponseStream(facts_of(response)).response, headers=headers)
    async with attended(request, response, wanted):
        ended = await to_its_end(request, response)
        return await answer(request, response, ended.response, headers)


async def _stream(
    request: web.Request,
    response: StoredResponse,
    headers: dict[str, str],
    *,
    wanted: Wanted | None = None,
    after: int = -1,
) -> web.StreamResponse:
    """Stream a response.

    Parameters
    ----------
    wanted
        By whom it is attended; ``None`` for somebody who looks on.
    after
        Sequence number of the last event that the client has.
    """
    if wanted is None:
        return await _write(request, response, headers, after)
    async with attended(request, response, wanted):
        written = await _write(request, response, headers, after)
    await request.app[RESPONSES].answered(response)
    return written


async def _write(
    request: web.Request, response: StoredResponse, headers: dict[str, str], last: int
) -> web.StreamResponse:
    stream = await sse.begin(request, headers)
    if request.method == hdrs.METH_HEAD:
        return stream
    over = False
    async with aclosing(follow(request, response)) as coming:
        async for item in coming:
            if item is None:
                await sse.send(stream, sse.ALIVE)
                continue
            over = item[0].over()
            for event in item[1]:
                number = event["sequence_number"]
                assert isinstance(number, int)
                if number > last:
                    last = number
                    await sse.send(stream, sse.event(event))
    if not over:
        await sse.send(stream, sse.event(_stopping(response, last)))
    await stream.write_eof()
    return stream


def _stopping(response: StoredResponse, last: int) -> JsonObject:
    """Tell that the gateway stops; it takes no number, so that the stream is continued after the last real event."""
    message = f"the gateway stops; the turn goes on: continue the stream of {response.id} after {last} once it is back"
    return {
        "type": "error",
        "code": "gateway_stopping",
        "message": message,
        "param": None,
        "sequence_number": max(last, 0),
    }


class GetQuery(BaseModel):
    """How a response is to be shown."""

    model_config = ConfigDict(extra="ignore")

    stream: bool = False
    starting_after: Annotated[int, Field(ge=0)] | None = None


async def get_response(request: web.Request) -> web.StreamResponse:
    """Show a response, or replay its stream."""
    query = parse(GetQuery, dict(request.query))
    response = await _found(request)
    if query.stream:
        after = -1 if query.starting_after is None else query.starting_after
        return await _stream(request, response, {"X-Request-Id": response.run_id}, after=after)
    return await _show(request, response)


async def _found(request: web.Request) -> StoredResponse:
    return await request.app[RESPONSES].find(caller(request), request.match_info["response"])


async def _show(request: web.Request, response: StoredResponse) -> web.Response:
    shown = await request.app[RESPONSES].show(response)
    return web.json_response(shown.response, headers={"X-Request-Id": response.run_id})


async def cancel_response(request: web.Request) -> web.Response:
    """Interrupt a turn."""
    response = await _found(request)
    await request.app[RESPONSES].cancel(caller(request), response)
    return await _show(request, response)


async def delete_response(request: web.Request) -> web.Response:
    """Have nobody find a response any more."""
    response = await _found(request)
    await request.app[RESPONSES].remove(caller(request), response)
    return web.json_response({"id": response.id, "object": "response", "deleted": True})


async def list_input_items(request: web.Request) -> web.Response:
    """Show what was asked."""
    response = await _found(request)
    return web.json_response(page_of(request, response.input))


async def count_input_tokens(_request: web.Request) -> web.Response:
    """Say that nobody knows."""
    message = "How many tokens an agent's model is sent is not known before: its harness adds to them."
    raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "not_implemented", message, headers={"x-should-retry": "false"})


_RESPONSE: Final = "/v1/responses/{response}"

ROUTES: Final = (
    Route("GET", "/v1/models", list_models, "The declared agents, as models"),
    Route("GET", "/v1/models/{model}", get_model, "An agent, as a model"),
    Route(
        "POST",
        "/v1/responses",
        create_response,
        "Make a turn",
        scope=Scope.CHAT,
        takes=CreateResponse,
        streamed_as=MEDIA_TYPE,
    ),
    Route("POST", "/v1/responses/input_tokens", count_input_tokens, "Not known: 501", scope=Scope.CHAT),
    Route("GET", _RESPONSE, get_response, "Show a response, or replay it", query=GetQuery, streamed_as=MEDIA_TYPE),
    Route("DELETE", _RESPONSE, delete_response, "Forget a response", scope=Scope.CHAT),
    Route("POST", f"{_RESPONSE}/cancel", cancel_response, "Interrupt a turn", scope=Scope.CHAT),
    Route("GET", f"{_RESPONSE}/input_items", list_input_items, "What was asked", query=PageQuery),
    *CONVERSATION_ROUTES,
    *CHAT_ROUTES,
)
"""All routes below ``/v1``."""
