"""From a request to a turn: begun once, followed to its end, interrupted when its client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from agentd.gateway.http.access import caller
from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.idempotent import HEADER, IN_TURN, REPLAYED, check_same, fingerprint_of, once_of
from agentd.gateway.http.route import CLOSING, ENGINE
from agentd.gateway.http.stream import ALIVE_SECONDS
from agentd.gateway.http.waiting import until
from agentd.gateway.model.errors import KeyTakenError
from agentd.gateway.model.once import Once
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.responses import PATIENCE, Responses
from agentd.gateway.openai.stream import ResponseStream
from agentd.gateway.openai.wanted import Wanted
from agentd.gateway.store.responses import StoredResponse

RESPONSES: Final = web.AppKey("responses", Responses)

_RETRIES: Final = "x-stainless-retry-count"
"""Sent by OpenAI's own clients: how often they have sent this request before."""

_BEGAN: web.RequestKey[bool] = web.RequestKey("turn_began", bool)


async def forbid_retry(request: web.Request, response: web.StreamResponse) -> None:
    """Have clients not repeat a request whose turn began: a hook of the application, before each answer."""
    if response.status >= HTTPStatus.BAD_REQUEST and request.get(_BEGAN, False):
        response.headers["x-should-retry"] = "false"


def repeatable(request: web.Request, body: object) -> str | None:
    """Give what tells a request from others, if its client may repeat it."""
    if _RETRIES not in request.headers:
        return None
    return fingerprint_of([caller(request).token, request.path, body])


async def begin(request: web.Request, wanted: Wanted, body: object) -> tuple[StoredResponse, dict[str, str]]:
    """Begin a turn, or find the one that the same request has begun before.

    Returns
    -------
    The response, and the headers that tell of it.
    """
    once = once_of(request, body)
    if once is None:
        found = None
        if wanted.request is not None and request.headers[_RETRIES] != "0":
            found = await request.app[RESPONSES].repeated(wanted.request)
        found = found or await request.app[RESPONSES].create(caller(request), wanted)
        replayed = False
    else:
        async with request.app[IN_TURN].setdefault(once, asyncio.Lock()):
            found, replayed = await _begin_once(request, wanted, once)
    request[_BEGAN] = True
    headers = {"X-Request-Id": found.run_id}
    return found, {**headers, REPLAYED: "true"} if replayed else headers


async def _begin_once(request: web.Request, wanted: Wanted, once: Once) -> tuple[StoredResponse, bool]:
    """Begin a turn, or find the one that was begun under the same key, and say whether it was."""
    responses, engine = request.app[RESPONSES], request.app[ENGINE]
    recorded = await engine.answers.recall(once)
    if recorded is None:
        try:
            return await responses.create(caller(request), wanted, once), False
        except KeyTakenError:
            # By another gateway, on the same database.
            recorded = await engine.answers.recall(once)
            if recorded is None:
                raise
    check_same(once, recorded)
    found = await responses.of_run(json.loads(recorded.body)["run"]["id"])
    if found is None:
        message = f"what the key in {HEADER} made is not there any more"
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", message)
    return found, True


async def follow(
    request: web.Request, response: StoredResponse
) -> AsyncGenerator[tuple[ResponseStream, list[JsonObject]] | None, None]:
    """Give the events of a response as they come, ``None`` when none came for a while; ends when the gateway does."""
    responses = request.app[RESPONSES]
    source = responses.follow(caller(request), response)
    async with aclosing(until(source, request.app[CLOSING], ALIVE_SECONDS)) as coming:
        async for item in coming:
            yield item


@asynccontextmanager
async def attended(request: web.Request, response: StoredResponse, wanted: Wanted) -> AsyncGenerator[None, None]:
    """Interrupt the turn if its client leaves while the context is open, unless it is in the background.

    It goes on while another client waits for it, and when the gateway stops. A client that may repeat its request has a
    moment to do so.
    """
    responses = request.app[RESPONSES]
    try:
        with responses.attending(response):
            yield
    except (asyncio.CancelledError, ConnectionError):
        if not response.background and not request.app[CLOSING].is_set():
            responses.leave(caller(request), response, 0.0 if wanted.request is None else PATIENCE)
        raise


async def to_its_end(request: web.Request, response: StoredResponse) -> ResponseStream:
    """Wait until a response has ended.

    Raises
    ------
    ApiError
        If the gateway stops before.
    """
    async with aclosing(follow(request, response)) as coming:
        async for item in coming:
            if item is not None and item[0].over():
                return item[0]
    raise stopping(response)


def stopping(response: StoredResponse) -> ApiError:
    """Say that the gateway stops while a turn is under way."""
    message = f"the gateway stops; the turn goes on: GET /v1/responses/{response.id} once it is back"
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "gateway_stopping", message)


async def answer(
    request: web.Request, response: StoredResponse, body: JsonObject, headers: dict[str, str]
) -> web.Response:
    """Answer a whole response, and note that its client has it."""
    whole = web.json_response(body, headers=headers)
    await whole.prepare(request)
    await whole.write_eof()
    await request.app[RESPONSES].answered(response)
    return whole
