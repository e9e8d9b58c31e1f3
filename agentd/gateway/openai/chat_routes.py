"""The route of ``/v1/chat/completions``."""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from typing import Final

from aiohttp import web

from agentd.gateway.http.body import read_json
from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.route import Route
from agentd.gateway.http.stream import MEDIA_TYPE
from agentd.gateway.ids import new_id
from agentd.gateway.openai import sse
from agentd.gateway.openai.chat import Completion, CreateCompletion, check_completion, items_of_messages
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.refusal import parse
from agentd.gateway.openai.stream import ResponseStream
from agentd.gateway.openai.turn import RESPONSES, answer, attended, begin, follow, repeatable, stopping, to_its_end
from agentd.gateway.openai.wanted import Wanted
from agentd.gateway.store.responses import StoredResponse
from agentd.model.gateway import Scope

_DONE: Final = b"data: [DONE]\n\n"


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Make a turn in a conversation of its own, and answer as a chat completion."""
    body = await read_json(request)
    asked = parse(CreateCompletion, body)
    check_completion(asked)
    items = items_of_messages(asked.messages, new_id)
    request_id = None if asked.stream else repeatable(request, body)
    wanted = Wanted(asked.model, items, stored=False, request=request_id, param="messages")
    response, headers = await begin(request, wanted, body)
    identity = f"chatcmpl-{response.run_id.partition('_')[2]}"
    completion = Completion(identity, int(response.created_at), response.model, shows_usage=asked.shows_usage)
    async with attended(request, response, wanted):
        if asked.stream:
            answered: web.StreamResponse = await _stream(request, response, completion, headers)
            await request.app[RESPONSES].answered(response)
            return answered
        ended = await to_its_end(request, response)
        if ended.response["status"] != "completed":
            await request.app[RESPONSES].answered(response)
            raise _failed(ended)
        return await answer(request, response, completion.whole(ended.text, _usage(ended)), headers)


async def _stream(
    request: web.Request, response: StoredResponse, completion: Completion, headers: dict[str, str]
) -> web.StreamResponse:
    stream = await sse.begin(request, headers)
    await sse.send(stream, sse.data(completion.first()))
    ended: ResponseStream | None = None
    async with aclosing(follow(request, response)) as coming:
        apart = ""
        async for item in coming:
            if item is None:
                await sse.send(stream, sse.ALIVE)
                continue
            for event in item[1]:
                if event["type"] == "response.output_text.delta":
                    await sse.send(stream, sse.data(completion.delta(f"{apart}{event['delta']}")))
                    apart = ""
                elif event["type"] == "response.output_text.done":
                    apart = "\n\n"
            if item[0].over():
                ended = item[0]
    if ended is None:
        await sse.send(stream, sse.data(_error(stopping(response))))
    elif ended.response["status"] != "completed":
        await sse.send(stream, sse.data(_error(_failed(ended))))
    else:
        for piece in completion.last(_usage(ended)):
            await sse.send(stream, sse.data(piece))
        await sse.send(stream, _DONE)
    await stream.write_eof()
    return stream


def _usage(ended: ResponseStream) -> JsonObject | None:
    used = ended.response["usage"]
    return used if isinstance(used, dict) else None


def _failed(ended: ResponseStream) -> ApiError:
    """Say why a turn has no answer."""
    error = ended.response["error"]
    if not isinstance(error, dict):
        return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "canceled", "the turn was interrupted")
    limited = error["code"] == "rate_limit_exceeded"
    status = HTTPStatus.TOO_MANY_REQUESTS if limited else HTTPStatus.INTERNAL_SERVER_ERROR
    return ApiError(status, str(error["code"]), str(error["message"]))


def _error(error: ApiError) -> JsonObject:
    """Write an error into a stream; OpenAI's client raises it."""
    return {"error": {"message": error.message, "type": error.kind, "param": None, "code": error.code}}


CHAT_ROUTES: Final = (
    Route(
        "POST",
        "/v1/chat/completions",
        create_completion,
        "Make a turn in a conversation of its own, as a chat completion",
        scope=Scope.CHAT,
        takes=CreateCompletion,
        streamed_as=MEDIA_TYPE,
    ),
)
