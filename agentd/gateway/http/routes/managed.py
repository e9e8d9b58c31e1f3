"""Managed agents: those that users make, and what these wait to be confirmed."""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

from agentd.gateway.http.access import caller
from agentd.gateway.http.body import JsonObject, read_body, read_query
from agentd.gateway.http.errors import JSON
from agentd.gateway.http.idempotent import answer_once, json_answer
from agentd.gateway.http.managed_bodies import AgentBody, ConfirmationBody, DeleteQuery, LogsQuery, OwnerQuery
from agentd.gateway.http.managed_reading import read
from agentd.gateway.http.managed_shapes import (
    AgentLogs,
    ConfirmationAnswer,
    ConfirmationsAnswer,
    DeletedAgent,
    MadeAgent,
    ManagedAgent,
    ManagedAgents,
)
from agentd.gateway.http.route import ENGINE, Route
from agentd.gateway.model.managed_view import ManagedView
from agentd.gateway.model.once import Once
from agentd.model.gateway import Scope


def _told(message: str, view: ManagedView) -> JsonObject:
    return {"message": f"agent {view.agent.shown_name} {message}", **view.json()}


async def _create(request: web.Request) -> web.Response:
    body = await read_body(request, AgentBody)
    wanted = read(body)

    async def act(_once: Once | None) -> JsonObject:
        return _told("created", await request.app[ENGINE].managed.create(caller(request), wanted))

    return await answer_once(request, body, HTTPStatus.CREATED, act, stored=False)


async def _list(request: web.Request) -> web.Response:
    query = read_query(request, OwnerQuery)
    found = await request.app[ENGINE].managed.page(caller(request), query.username)
    content = json.dumps([each.json() for each in found], ensure_ascii=False, separators=(",", ":"))
    return web.Response(body=content.encode(), content_type=JSON)


async def _get(request: web.Request) -> web.Response:
    query = read_query(request, OwnerQuery)
    name = request.match_info["name"]
    return json_answer((await request.app[ENGINE].managed.get(caller(request), name, query.username)).json())


async def _delete(request: web.Request) -> web.Response:
    query = read_query(request, DeleteQuery)
    name = request.match_info["name"]
    agent = await request.app[ENGINE].managed.delete(caller(request), name, query.username, keep=query.keep)
    return json_answer({"message": f"agent {agent.shown_name} deleted", "agent": agent.shown_name})


async def _start(request: web.Request) -> web.Response:
    return await _switch(request, on=True)


async def _stop(request: web.Request) -> web.Response:
    return await _switch(request, on=False)


async def _switch(request: web.Request, *, on: bool) -> web.Response:
    query = read_query(request, OwnerQuery)
    managed, name = request.app[ENGINE].managed, request.match_info["name"]
    view = await managed.switch(caller(request), name, query.username, on=on)
    return json_answer(_told("started" if on else "stopped", view))


async def _logs(request: web.Request) -> web.Response:
    query = read_query(request, LogsQuery)
    managed, name = request.app[ENGINE].managed, request.match_info["name"]
    agent, lines = await managed.logs(caller(request), name, query.username, query.lines)
    return json_answer({"agent": agent.shown_name, "logs": [*lines]})


async def _confirmations(request: web.Request) -> web.Response:
    query = read_query(request, OwnerQuery)
    engine = request.app[ENGINE]
    agent = await engine.managed.find(caller(request), request.match_info["name"], query.username)
    waiting = await engine.confirmations.pending(agent.agent)
    return json_answer({"confirmations": [each.json() for each in waiting]})


async def _confirm(request: web.Request) -> web.Response:
    query = read_query(request, OwnerQuery)
    body = await read_body(request, ConfirmationBody)
    engine = request.app[ENGINE]
    agent = await engine.managed.find(caller(request), request.match_info["name"], query.username)
    request_id = request.match_info["request_id"]

    async def act(_once: Once | None) -> JsonObject:
        who = caller(request)
        answered = await engine.confirmations.confirm(who, request_id, body.confirmed, agent=agent.agent)
        return {"confirmation": answered.json()}

    return await answer_once(request, body, HTTPStatus.OK, act, stored=False)


_EXISTS = {HTTPStatus.CONFLICT: "There is an agent of that name."}
_DECIDED = {HTTPStatus.CONFLICT: "Somebody else was the first to answer."}

ROUTES = (
    Route(
        "POST", "/agents", _create, "Make an agent",
        scope=Scope.AGENTS, takes=AgentBody, status=HTTPStatus.CREATED, answers=MadeAgent, errors=_EXISTS,
    ),
    Route("GET", "/agents", _list, "List the agents that users made", query=OwnerQuery, answers=ManagedAgents),
    Route("GET", "/agents/{name}", _get, "Show an agent", query=OwnerQuery, answers=ManagedAgent),
    Route(
        "DELETE", "/agents/{name}", _delete, "Remove an agent, its folder and its log",
        scope=Scope.AGENTS, query=DeleteQuery, answers=DeletedAgent,
    ),
    Route(
        "POST", "/agents/{name}/start", _start, "Have an agent run",
        scope=Scope.AGENTS, query=OwnerQuery, answers=MadeAgent,
    ),
    Route(
        "POST", "/agents/{name}/stop", _stop, "Have an agent run no more",
        scope=Scope.AGENTS, query=OwnerQuery, answers=MadeAgent,
    ),
    Route("GET", "/agents/{name}/logs", _logs, "What an agent did", query=LogsQuery, answers=AgentLogs),
    Route(
        "GET", "/agents/{name}/confirmations", _confirmations, "List the tools that wait to be confirmed",
        query=OwnerQuery, answers=ConfirmationsAnswer,
    ),
    Route(
        "POST", "/agents/{name}/confirmations/{request_id}", _confirm,
        "Let a tool run, or not; the first answer counts",
        scope=Scope.CHAT, query=OwnerQuery, takes=ConfirmationBody, answers=ConfirmationAnswer, errors=_DECIDED,
    ),
)  # fmt: skip
