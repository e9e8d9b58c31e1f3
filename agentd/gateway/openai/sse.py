"""Server-sent events, as OpenAI's clients read them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from agentd.gateway.http.stream import MEDIA_TYPE, PATIENCE
from agentd.gateway.model.objects import encoded
from agentd.gateway.openai.objects import JsonObject

ALIVE: Final = b": alive\n\n"
"""A comment, which shows that the stream lives."""


async def begin(request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    """Begin an answer of events."""
    # nginx, which might be on the way, would wait for more without the header.
    answer = web.StreamResponse(headers={hdrs.CONTENT_TYPE: MEDIA_TYPE, "X-Accel-Buffering": "no", **headers})
    await answer.prepare(request)
    return answer


def event(body: JsonObject) -> bytes:
    """Write an event of the Responses API."""
    return f"event: {body['type']}\n".encode() + data(body)


def data(body: JsonObject) -> bytes:
    """Write an event without a name."""
    return b"data: " + encoded(body) + b"\n\n"


async def send(answer: web.StreamResponse, written: bytes) -> None:
    """Send.

    Raises
    ------
    ConnectionError
        If the client left, or takes nothing.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            await answer.write(written)
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None
