"""The Unix socket beside each agentd where agentctl asks the fleet: `agentd.fleet.protocol` says what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol, cast

import aiohttp
from aiohttp import web

from agentd import __version__
from agentd.fleet.definitions import JcardError
from agentd.fleet.errors import NoAnswerError, UnknownHostError
from agentd.fleet.ledger import LedgerError
from agentd.fleet.protocol import (
    AGENTS_PATH,
    APPLY_PATH,
    DRAIN_PATH,
    FLEET_PATH,
    HOSTS_PATH,
    MOST_JCARD_BYTES,
    PLAN_PATH,
    REBALANCE_PATH,
    UNCORDON_PATH,
)

_TURNS: Final = "/v1/turns/"
_LIMIT: Final = aiohttp.ClientTimeout(total=10, sock_connect=2)
_MODE: Final = 0o660

Query = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agentd answered."""

    status: int
    content_type: str
    body: bytes


class Remote(Protocol):
    """The rest of the fleet; raises `NoAnswerError`, and what the Controller raises."""

    async def controller(self, method: str, *arguments: object, **named: object) -> object:
        """Call a method of the Controller."""
        ...

    async def host(self, host: str, method: str, path: str, query: Query, body: bytes) -> Reply:
        """Ask the agentd of a host."""
        ...


class LocalApi:
    """The socket, and this host's part of what it answers."""

    def __init__(self, api_socket: Path, turns_socket: Path, remote: Remote) -> None:
        self._sockets = {False: api_socket, True: turns_socket}
        self._remote = remote
        self._runner: web.AppRunner | None = None

    async def serve(self, path: Path) -> None:
        """Listen, in place of whoever did before.

        Raises
        ------
        OSError
            If that is not possible.
        """
        app = web.Application(client_max_size=MOST_JCARD_BYTES + 65536, middlewares=[_errors])
        app.add_routes(
            [
                web.get(FLEET_PATH, self._shows("fleet")),
                web.get(HOSTS_PATH, self._shows("hosts")),
                web.get(AGENTS_PATH, self._shows("agents")),
                web.post(PLAN_PATH, self._takes_jcard("plan")),
                web.post(APPLY_PATH, self._takes_jcard("apply")),
                web.post(DRAIN_PATH, self._drains(draining=True)),
                web.post(UNCORDON_PATH, self._drains(draining=False)),
                web.post(REBALANCE_PATH, self._rebalance),
                web.get("/v1/health", self._health),
                web.get("/v1/agents", self._all_agents),
                web.get("/v1/events", self._events),
                web.get("/v1/agents/{name}", self._of_agent),
                web.get("/v1/agents/{name}/{rest:.*}", self._of_agent),
                web.route("*", "/v1/turns/{name}", self._of_agent),
                web.route("*", "/v1/turns/{name}/{rest:.*}", self._of_agent),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await asyncio.to_thread(path.unlink, missing_ok=True)
        await web.UnixSite(self._runner, str(path)).start()
        await asyncio.to_thread(_give, path, self._sockets[False])

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def fetch(self, method: str, path: str, query: Query, body: bytes) -> Reply:
        """Ask this host's agentd.

        Raises
        ------
        NoAnswerError
            If it does not answer.
        """
        socket, data = self._sockets[path.startswith(_TURNS)], body or None
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=_LIMIT) as session,
                session.request(method, f"http://agentd{path}", params=query, data=data, headers=headers) as got,
            ):
                return Reply(got.status, got.headers.get("Content-Type", "application/json"), await got.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise NoAnswerError(f"agentd does not answer at {socket}") from error

    def _shows(self, method: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def show(_: web.Request) -> web.Response:
            return _json(await self._remote.controller(method))

        return show

    def _takes_jcard(self, method: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def take(request: web.Request) -> web.Response:
            body = await _body(request)
            return _json(await self._remote.controller(method, _text(body, "jcard"), _text(body, "path")))

        return take

    def _drains(self, *, draining: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def drain(request: web.Request) -> web.Response:
            return _json(await self._remote.controller("drain", _text(await _body(request), "host"), draining=draining))

        return drain

    async def _rebalance(self, request: web.Request) -> web.Response:
        dry_run = (await _body(request)).get("dry_run") is not False
        return _json(await self._remote.controller("rebalance", dry_run=dry_run))

    async def _of_agent(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        host = await self._remote.controller("host_of", name)
        if host is None:
            return _error(HTTPStatus.NOT_FOUND, "agent not found")
        try:
            reply = await self._remote.host(
                str(host), request.method, request.path, [*request.query.items()], await request.read()
            )
        except NoAnswerError as error:
            return _error(HTTPStatus.CONFLICT, f"{name} is on {host}, which does not answer: {error}")
        return web.Response(status=reply.status, body=reply.body, headers={"Content-Type": reply.content_type})

    async def _gathered(self, path: str, query: Query) -> list[dict[str, object]]:
        """Ask all hosts that are heard for a list, and say of each entry whose it is."""
        hosts = cast("Mapping[str, bool]", await self._remote.controller("addresses"))

        async def ask(host: str) -> list[dict[str, object]]:
            try:
                reply = await self._remote.host(host, "GET", path, query, b"")
                found = json.loads(reply.body) if reply.status == HTTPStatus.OK else []
            except (NoAnswerError, ValueError):
                return []
            return [{**each, "host": host} for each in found if isinstance(each, dict)]

        lists = await asyncio.gather(*(ask(host) for host, alive in hosts.items() if alive))
        return [each for found in lists for each in found]

    async def _all_agents(self, _: web.Request) -> web.Response:
        return _json(sorted(await self._gathered("/v1/agents", []), key=lambda each: str(each.get("name"))))

    async def _events(self, request: web.Request) -> web.Response:
        if request.query.get("follow") == "true":
            return _error(HTTPStatus.NOT_IMPLEMENTED, "a fleet's events cannot be followed: ask each host")
        events = await self._gathered("/v1/events", [*request.query.items()])
        events.sort(key=lambda each: str(each.get("time")))
        return _json([{**each, "seq": number} for number, each in enumerate(events, 1)])

    async def _health(self, _: web.Request) -> web.Response:
        view = cast("Mapping[str, object]", _plain(await self._remote.controller("fleet")))
        counts = {"total": view["agents"], "running": view["agents_placed"], "failed": 0}
        config = {"path": view["jcard"], "valid": True, "error": None, "warnings": view["warnings"], "files": []}
        about = {"state": "running", "version": __version__, "pid": os.getpid()}
        return _json({**about, "config": config, "agents": counts})


def _give(path: Path, like: Path) -> None:
    """Let those use the socket who may use agentd's."""
    path.chmod(_MODE)
    with contextlib.suppress(OSError):
        os.chown(path, -1, like.stat().st_gid)


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NoAnswerError as error:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"the fleet's Controller does not answer: {error}")
    except UnknownHostError as error:
        return _error(HTTPStatus.NOT_FOUND, str(error))
    except JcardError as error:
        return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    except LedgerError as error:
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
    except web.HTTPException as error:
        return _error(HTTPStatus(error.status), error.reason)


async def _body(request: web.Request) -> Mapping[str, object]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="expected a JSON object")
    return body


def _text(body: Mapping[str, object], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str):
        raise web.HTTPBadRequest(reason=f"expected a string in {field}")
    return value


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _json(value: object) -> web.Response:
    return web.json_response(_plain(value))


def _error(status: HTTPStatus, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
