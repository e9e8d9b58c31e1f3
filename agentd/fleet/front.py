"""What agentd-fleet serves on its socket: the protocol, over whatever reaches the Controller and the hosts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

from aiohttp import hdrs, web

from agentd import __version__
from agentd.fleet.event_query import events_wanted
from agentd.fleet.following import EventsWanted, Following, Position, last
from agentd.fleet.passing import Asked, Head, Told, error_body
from agentd.fleet.protocol import (
    AGENTS_PATH,
    APPLY_PATH,
    DRAIN_PATH,
    FLEET_PATH,
    FORGET_PATH,
    HOSTS_PATH,
    MOST_JCARD_BYTES,
    PLAN_PATH,
    REBALANCE_PATH,
    UNCORDON_PATH,
    FleetView,
    HostState,
    HostView,
    JcardBody,
    PlacedView,
    Placement,
    PlanView,
)
from agentd.fleet.recent import Recent
from agentd.fleet.refusals import FleetError
from agentd.model.status import NOT_RECORDED, AgentCounts, ConfigStatus, Health, Recording
from agentd.text.timestamps import rfc3339_milliseconds

_ANSWER_WITHIN: Final = 3.0
"""Seconds for a host's answer to begin: agentctl waits for five."""

_LARGEST_BODY: Final = 2 * MOST_JCARD_BYTES
"""As JSON, which may write a character in six bytes; a jcard has few such."""

_RECENT: Final = 1.0
"""Seconds that what those who follow are told of hosts may be old."""

_JSON: Final = "application/json"
_EVENT_STREAM: Final = "text/event-stream"


class FleetBackend(Protocol):
    """What the socket asks. All of it raises `FleetError`."""

    async def fleet(self) -> FleetView:
        """Say how the fleet is doing."""
        ...

    async def hosts(self) -> Sequence[HostView]:
        """List the hosts by name."""
        ...

    async def placed(self) -> Sequence[PlacedView]:
        """List where agents are, by name."""
        ...

    async def plan(self, body: JcardBody) -> PlanView:
        """Say what a jcard would do."""
        ...

    async def apply(self, body: JcardBody) -> PlanView:
        """Take a jcard."""
        ...

    async def drain(self, host: str, *, draining: bool) -> PlanView:
        """Empty a host, or use it again."""
        ...

    async def forget(self, host: str) -> PlanView:
        """Give up a lost host for good."""
        ...

    async def rebalance(self, *, dry_run: bool) -> PlanView:
        """Even out the hosts, or say what that would do."""
        ...

    def forward(self, host: str, asked: Asked) -> AsyncGenerator[Told, None]:
        """Have a host's agentd answer: a `Head`, and then the body in pieces."""
        ...


@dataclass(slots=True)
class Front:
    """Answers requests."""

    backend: FleetBackend
    started: float
    """By the monotonic clock."""
    _hosts_now: Recent[Sequence[HostView]] = field(init=False)
    _placed_now: Recent[Sequence[PlacedView]] = field(init=False)

    def __post_init__(self) -> None:
        # For those who follow, each of whom looks for hosts every other moment.
        self._hosts_now = Recent(self.backend.hosts, _RECENT)
        self._placed_now = Recent(self.backend.placed, _RECENT)

    def app(self) -> web.Application:
        """Make the application."""
        app = web.Application(middlewares=[_refusals], client_max_size=_LARGEST_BODY)
        app.add_routes(
            [
                web.get(FLEET_PATH, self._shown(self.backend.fleet)),
                web.get(HOSTS_PATH, self._shown(self.backend.hosts)),
                web.get(AGENTS_PATH, self._shown(self.backend.placed)),
                web.post(PLAN_PATH, self._plan),
                web.post(APPLY_PATH, self._apply),
                web.post(DRAIN_PATH, self._drain),
                web.post(UNCORDON_PATH, self._uncordon),
                web.post(FORGET_PATH, self._forget),
                web.post(REBALANCE_PATH, self._rebalance),
                web.get("/v1/health", self._health),
                web.get("/v1/agents", self._agents),
                web.get("/v1/events", self._events),
                web.get("/v1/agents/{name}", self._forward),
                web.get("/v1/agents/{name}/{below:.*}", self._forward),
                web.route("*", "/v1/turns/{name}", self._forward),
                web.route("*", "/v1/turns/{name}/{below:.*}", self._forward),
            ]
        )
        return app

    # The fleet

    def _shown(self, ask: Callable[[], Awaitable[object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            return _answer(await ask())

        return answer

    async def _plan(self, request: web.Request) -> web.Response:
        return _answer(await self.backend.plan(await _jcard(request)))

    async def _apply(self, request: web.Request) -> web.Response:
        return _answer(await self.backend.apply(await _jcard(request)))

    async def _drain(self, request: web.Request) -> web.Response:
        return _answer(await self.backend.drain(await _text(request, "host"), draining=True))

    async def _uncordon(self, request: web.Request) -> web.Response:
        return _answer(await self.backend.drain(await _text(request, "host"), draining=False))

    async def _forget(self, request: web.Request) -> web.Response:
        return _answer(await self.backend.forget(await _text(request, "host")))

    async def _rebalance(self, request: web.Request) -> web.Response:
        dry_run = (await _object(request)).get("dry_run")
        if not isinstance(dry_run, bool):
            raise FleetError(HTTPStatus.BAD_REQUEST, "expected dry_run, true or false")
        return _answer(await self.backend.rebalance(dry_run=dry_run))

    # All hosts

    async def _agents(self, _request: web.Request) -> web.Response:
        return _answer(await self._of_all("/v1/agents", "name"))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        wanted = events_wanted(request.query)
        if request.query.get("follow") in ("", "1"):
            return await self._follow(request, wanted)
        if _EVENT_STREAM in request.headers.get(hdrs.ACCEPT, ""):
            raise FleetError(HTTPStatus.NOT_IMPLEMENTED, "the events of a fleet are a stream with follow=1 alone")
        found = last(await self._of_all(request.raw_path, "time"), wanted.tail)
        return _answer(found[: wanted.limit])

    async def _follow(self, request: web.Request, wanted: EventsWanted) -> web.StreamResponse:
        known = request.headers.get("Last-Event-ID")
        try:
            position = Position(rfc3339_milliseconds(time.time())) if known is None else Position.of(known)
        except (KeyError, ValueError):
            message = "expected the id of an event of this fleet as Last-Event-ID"
            raise FleetError(HTTPStatus.BAD_REQUEST, message) from None
        agents = frozenset(value.casefold() for name, value in wanted.filters if name == "agent")

        async def hosts() -> frozenset[str]:
            answering = {host.name for host in await self._hosts_now.get() if host.state in _ANSWERING}
            if not agents:
                return frozenset(answering)
            found = (each for each in await self._placed_now.get() if each.name.casefold() in agents)
            return frozenset(answering & {host for each in found for host in (each.host, each.previous) if host})

        following = Following(hosts, self.backend.forward, self._list_of)
        async with contextlib.aclosing(following.sent(wanted, position, anew=known is None)) as blocks:
            # Before the answer begins, so that the fleet may refuse.
            first = await anext(blocks, b"")
            response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: _EVENT_STREAM})
            with contextlib.suppress(ConnectionError):  # the client has gone
                await response.prepare(request)
                await response.write(first)
                async for block in blocks:
                    await response.write(block)
                await response.write_eof()
            return response

    async def _health(self, _request: web.Request) -> web.Response:
        fleet, agents = await self.backend.fleet(), await self._of_all("/v1/agents", "name")
        running = sum(each.get("running") is True for each in agents)
        failed = sum(each.get("state") == "failed" for each in agents)
        health = Health(
            state="running",
            uptime_seconds=int(time.monotonic() - self.started),
            version=__version__,
            pid=os.getpid(),
            config=ConfigStatus(fleet.jcard or "", True, None, fleet.warnings, fleet.applied_at, None, ()),
            agents=AgentCounts(fleet.agents, running, failed),
            recording=Recording(NOT_RECORDED, NOT_RECORDED),
            slow_reads=(),
            problem=None,
        )
        return _answer(asdict(health))

    async def _of_all(self, path: str, order: str) -> list[dict[str, Any]]:
        """Ask all hosts that answer for a list, name the host of each item, and sort them."""
        names = [host.name for host in await self.backend.hosts() if host.state in _ANSWERING]
        answers = await asyncio.gather(*(self._list_of(name, path) for name in names))
        found = [each for answer in answers for each in answer]
        return sorted(found, key=lambda each: str(each.get(order)))

    async def _list_of(self, host: str, path: str) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                async with contextlib.aclosing(self.backend.forward(host, Asked("GET", path, {}))) as parts:
                    head, body = await whole(parts)
        except (TimeoutError, FleetError):
            return []
        if head.status != HTTPStatus.OK:
            return []
        found = json.loads(body)
        return [{**each, "host": host} for each in found] if isinstance(found, list) else []

    # One host

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        return await self._to_agent(request, request.match_info["name"])

    async def _to_agent(self, request: web.Request, name: str) -> web.StreamResponse:
        host = await self._host_of(name)
        asked = Asked.of(request.method, request.raw_path, request.headers, await request.read())
        # Closed here, whichever way it ends: a client that hangs up ends what the host does for it.
        async with contextlib.aclosing(self.backend.forward(host, asked)) as parts:
            try:
                async with asyncio.timeout(_ANSWER_WITHIN):
                    head = await anext(parts, None)
            except TimeoutError:
                raise FleetError(HTTPStatus.CONFLICT, f"{host} does not answer") from None
            if not isinstance(head, Head):
                raise FleetError(HTTPStatus.CONFLICT, f"{host} gave no answer")
            if request.path == f"/v1/agents/{request.match_info.get('name')}" and head.status == HTTPStatus.OK:
                return await _with_host(host, head, parts)
            response = web.StreamResponse(status=head.status, headers=dict(head.headers))
            if await _sent(response.prepare(request)):
                async for part in parts:
                    if isinstance(part, bytes) and not await _sent(response.write(part)):
                        return response
                await _sent(response.write_eof())
            return response

    async def _host_of(self, name: str) -> str:
        """Find where an agent is: where it is being stopped, if it moves."""
        for each in await self.backend.placed():
            if each.name.casefold() == name.casefold():
                host = each.previous if each.placement in _STOPPING and each.previous else each.host
                if host is not None:
                    return host
        raise FleetError(HTTPStatus.NOT_FOUND, "agent not found")


_ANSWERING: Final = frozenset({HostState.READY, HostState.DRAINING})
_STOPPING: Final = frozenset({Placement.MOVING, Placement.LEAVING})


async def _sent(sending: Awaitable[object]) -> bool:
    """Whether the client is still there; that it has gone is nothing to log."""
    try:
        await sending
    except ConnectionError:
        return False
    return True


async def whole(parts: AsyncIterator[Told]) -> tuple[Head, bytes]:
    """Read an answer to its end.

    Raises
    ------
    FleetError
        If it has no head.
    """
    head, body = None, bytearray()
    async for part in parts:
        if isinstance(part, Head):
            head = part
        else:
            body += part
    if head is None:
        raise FleetError(HTTPStatus.CONFLICT, "there was no answer")
    return head, bytes(body)


async def _with_host(host: str, head: Head, parts: AsyncIterator[Told]) -> web.Response:
    body = b"".join([part async for part in parts if isinstance(part, bytes)])
    found = json.loads(body)
    return _answer({**found, "host": host} if isinstance(found, dict) else found, head.status)


async def _object(request: web.Request) -> Mapping[str, object]:
    try:
        found = json.loads(await request.read())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise FleetError(HTTPStatus.BAD_REQUEST, "expected a JSON object")
    return found


async def _text(request: web.Request, name: str) -> str:
    found = (await _object(request)).get(name)
    if not isinstance(found, str):
        raise FleetError(HTTPStatus.BAD_REQUEST, f"expected {name}, a string")
    return found


async def _jcard(request: web.Request) -> JcardBody:
    found = await _object(request)
    jcard, path = found.get("jcard"), found.get("path")
    if not isinstance(jcard, str) or not isinstance(path, str):
        raise FleetError(HTTPStatus.BAD_REQUEST, "expected jcard and path, strings")
    if len(jcard.encode()) > MOST_JCARD_BYTES:
        raise FleetError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a jcard of at most {MOST_JCARD_BYTES} bytes")
    return JcardBody(jcard, path)


def _answer(value: object, status: int = HTTPStatus.OK) -> web.Response:
    return web.Response(body=json.dumps(_plain(value)).encode(), status=status, content_type=_JSON)


def _plain(value: object) -> object:
    match value:
        case dict():
            return value
        case list() | tuple():
            return [_plain(each) for each in value]
        case FleetView() | HostView() | PlacedView() | PlanView():
            return asdict(value)
        case _:
            return value


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer errors as agentd does."""
    try:
        return await handler(request)
    except FleetError as error:
        return web.Response(body=error_body(str(error)), status=error.status, content_type=_JSON)
    except web.HTTPException as error:
        message = HTTPStatus(error.status).phrase.lower()
        return web.Response(body=error_body(message), status=error.status, content_type=_JSON)
