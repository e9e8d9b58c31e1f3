"""Channels by brokers: how they do, and a message for trying one out."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from agentd.gateway.http.access import caller
from agentd.gateway.http.bodies import ChannelMessageBody
from agentd.gateway.http.body import JsonObject, read_body
from agentd.gateway.http.idempotent import json_answer
from agentd.gateway.http.route import CHANNELS, Route
from agentd.gateway.http.shapes import ChannelsAnswer, ChannelSentAnswer
from agentd.gateway.model.objects import encoded
from agentd.model.gateway import Scope


async def _list(request: web.Request) -> web.Response:
    return json_answer({"channels": [each.json() for each in request.app[CHANNELS].shown(caller(request))]})


async def _send(request: web.Request) -> web.Response:
    body = await read_body(request, ChannelMessageBody)
    given: JsonObject = {"channel_id": body.channel_id, "metadata": body.metadata, "id": body.id}
    message = {"type": "user", "content": body.content} | {k: v for k, v in given.items() if v is not None}
    name = request.match_info["name"]
    channel, written = await request.app[CHANNELS].say(caller(request), name, encoded(message), body.agent)
    return json_answer({"channel": channel.json(), "message_id": written}, HTTPStatus.ACCEPTED)


ROUTES = (
    Route("GET", "/channels", _list, "Show channels by brokers, and how they do", answers=ChannelsAnswer),
    Route(
        "POST", "/channels/{name}/messages", _send, "Write a message to a channel's broker, as others do",
        scope=Scope.CHAT, takes=ChannelMessageBody, status=HTTPStatus.ACCEPTED, answers=ChannelSentAnswer,
        errors={HTTPStatus.SERVICE_UNAVAILABLE: "The broker is not there."},
    ),
)  # fmt: skip
