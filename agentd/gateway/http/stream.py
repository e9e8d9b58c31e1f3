"""``/stream``: events as they happen, as server-sent events or over a WebSocket."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from agentd.gateway.http.access import caller
from agentd.gateway.http.bodies import StreamQuery
from agentd.gateway.http.body import JsonObject, read_query
from agentd.gateway.http.errors import invalid
from agentd.gateway.http.metrics import METRICS
from agentd.gateway.http.route import CLOSING, ENGINE, Route
from agentd.gateway.http.waiting import bundles
from agentd.gateway.model.objects import Event, encoded
from agentd.text.timestamps import rfc3339_milliseconds

MEDIA_TYPE: Final = "text/event-stream"
ALIVE_SECONDS: Final = 15.0
"""After so long without an event, a comment or a ping shows that the stream lives."""
PATIENCE: Final = 60.0
"""Seconds in which a client has to take an event."""
LAST_EVENT_TYPE: Final = "gateway.stopping"
"""Of the last event before the gateway ends; it is none of a session."""

_NOW: Final = "now"
_CURSOR: Final = re.compile(r"[0-9]{1,18}")
_LAST_EVENT_ID: Final = "Last-Event-ID"
_MOST_TEXTS: Final = 512
_RETRY_MS: Final = 1000
_LARGEST_MESSAGE: Final = 4096
"""Bytes of what a client sends over a WebSocket; it is not read."""


class _Texts:
    """The newest events as JSON: each is written once, however many follow it."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def of(self, event: Event) -> bytes:
        """Give an event's."""
        text = self._texts.get(event.id)
        if text is None:
            text = self._texts[event.id] = encoded(event.json())
            if len(self._texts) > _MOST_TEXTS:
                del self._texts[next(iter(self._texts))]
        return text


_TEXTS: Final = _Texts()


async def _stream(request: web.Request) -> web.StreamResponse:
    query = read_query(request, StreamQuery)
    engine, who = request.app[ENGINE], caller(request)
    cursor = _after(request, query)
    if query.session_id is not None:
        # Before anything is sent: it may be none of the caller's.
        await engine.sessions.get(who, query.session_id)
    # A cursor beyond the end is of a database that was there before: all that comes is news.
    last = await engine.happenings.last_cursor()
    cursor = last if cursor is None else min(cursor, last)
    events = engine.happenings.follow(who, query.session_id, cursor)
    with request.app[METRICS].streams.track_inprogress():
        if "websocket" in request.headers.get(hdrs.UPGRADE, "").lower():
            return await _over_websocket(request, events, cursor)
        return await _as_server_sent(request, events, cursor)


def _after(request: web.Request, query: StreamQuery) -> int | None:
    """Give the cursor after which to begin; ``None`` for the newest."""
    last = request.headers.get(_LAST_EVENT_ID)
    if not last:
        return None if query.cursor == _NOW else int(query.cursor)
    if not _CURSOR.fullmatch(last):
        raise invalid(f"{_LAST_EVENT_ID}: expected the cursor of an event", "cursor")
    return int(last)


async def _as_server_sent(request: web.Request, events: AsyncIterator[Event], cursor: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: MEDIA_TYPE, "X-Accel-Buffering": "no"})
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    await _write(response, b"retry: %d\n\n" % _RETRY_MS)
    async with aclosing(bundles(events, request.app[CLOSING], ALIVE_SECONDS)) as coming:
        async for bundle in coming:
            cursor = bundle[-1].cursor if bundle else cursor
            await _write(response, _written(bundle))
            # Not kept until the next one comes.
            del bundle
    # Named, so that whoever reads unnamed events passes over it.
    await _write(response, b"event: stopping\ndata: %s\n\n" % _last(cursor))
    return response


def _written(bundle: Sequence[Event]) -> bytes:
    pieces = [b"id: %d\ndata: %s\n\n" % (event.cursor, _TEXTS.of(event)) for event in bundle]
    return b"".join(pieces) or b": alive\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None


async def _over_websocket(request: web.Request, events: AsyncIterator[Event], cursor: int) -> web.StreamResponse:
    socket = web.WebSocketResponse(heartbeat=ALIVE_SECONDS, max_msg_size=_LARGEST_MESSAGE, compress=False)
    await socket.prepare(request)
    left = asyncio.Event()
    reading = asyncio.create_task(_read(socket, left))
    stopping = asyncio.create_task(_either(request.app[CLOSING], left))
    over = asyncio.Event()
    stopping.add_done_callback(lambda _: over.set())
    try:
        async with aclosing(bundles(events, over, ALIVE_SECONDS)) as coming:
            async for bundle in coming:
                while bundle:
                    event = bundle.pop(0)
                    cursor = event.cursor
                    await _send(socket, _TEXTS.of(event))
        if not left.is_set():
            await _send(socket, _last(cursor))
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops")
    finally:
        reading.cancel()
        stopping.cancel()
    return socket


async def _send(socket: web.WebSocketResponse, event: bytes) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await socket.send_str(event.decode())
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None


async def _read(socket: web.WebSocketResponse, left: asyncio.Event) -> None:
    """Take what the client sends, so that its pongs and its end are seen."""
    try:
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
    finally:
        left.set()


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _last(cursor: int) -> bytes:
    event: JsonObject = {
        "cursor": cursor,
        "id": None,
        "session_id": None,
        "run_id": None,
        "event_type": LAST_EVENT_TYPE,
        "data": {},
        "created_at": rfc3339_milliseconds(time.time()),
    }
    return encoded(event)


ROUTES = (
    Route(
        "GET",
        "/stream",
        _stream,
        "Follow what happens, from a cursor on: server-sent events, or a WebSocket",
        query=StreamQuery,
        answers=Event,
        media_type=MEDIA_TYPE,
    ),
)
