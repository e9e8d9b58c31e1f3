"""Sessions, their messages and events."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from agentd.gateway.http.access import caller
from agentd.gateway.http.bodies import (
    EventsQuery,
    NewMessageBody,
    NewSessionBody,
    SendBody,
    SessionsQuery,
    SpawnBody,
)
from agentd.gateway.http.body import JsonObject, read_body, read_query
from agentd.gateway.http.idempotent import answer_once, json_answer
from agentd.gateway.http.route import ENGINE, Route
from agentd.gateway.http.shapes import (
    EventsAnswer,
    SentAnswer,
    SessionAnswer,
    SessionsAnswer,
    SessionViewAnswer,
    SpawnedAnswer,
)
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewChild, NewMessage, NewSession, SessionQuery
from agentd.model.gateway import Scope


async def _create(request: web.Request) -> web.Response:
    body = await read_body(request, NewSessionBody)
    wanted = NewSession(body.agent, body.main, body.harness, body.workdir, body.title, body.metadata)

    async def act(once: Once | None) -> JsonObject:
        session = await request.app[ENGINE].sessions.create(caller(request), wanted, once)
        return {"session": session.json()}

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _list(request: web.Request) -> web.Response:
    query = read_query(request, SessionsQuery)
    wanted = SessionQuery(query.limit, query.cursor, query.status, query.agent)
    return json_answer((await request.app[ENGINE].sessions.list(caller(request), wanted)).json())


async def _get(request: web.Request) -> web.Response:
    return json_answer((await request.app[ENGINE].sessions.get(caller(request), request.match_info["id"])).json())


async def _close(request: web.Request) -> web.Response:
    session = await request.app[ENGINE].sessions.close(caller(request), request.match_info["id"])
    return json_answer({"session": session.json()})


async def _message(request: web.Request) -> web.Response:
    body = await read_body(request, NewMessageBody)
    message = NewMessage(body.text, body.role)

    async def act(once: Once | None) -> JsonObject:
        session_id = request.match_info["id"]
        return (await request.app[ENGINE].sessions.send_message(caller(request), session_id, message, once)).json()

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _send(request: web.Request) -> web.Response:
    body = await read_body(request, SendBody)

    async def act(once: Once | None) -> JsonObject:
        session_id = request.match_info["id"]
        sent = await request.app[ENGINE].sessions.send(caller(request), session_id, body.text, body.from_run_id, once)
        return sent.json()

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _spawn(request: web.Request) -> web.Response:
    body = await read_body(request, SpawnBody)
    child = NewChild(body.task, body.agent, body.harness, body.workdir)

    async def act(once: Once | None) -> JsonObject:
        session_id = request.match_info["id"]
        return (await request.app[ENGINE].family.spawn_from_session(caller(request), session_id, child, once)).json()

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _events(request: web.Request) -> web.Response:
    query = read_query(request, EventsQuery)
    session_id = request.match_info["id"]
    page = await request.app[ENGINE].happenings.page(caller(request), session_id, query.cursor, query.limit)
    return json_answer(page.json())


ROUTES = (
    Route(
        "POST", "/sessions", _create, "Begin a conversation with an agent",
        scope=Scope.CHAT, takes=NewSessionBody, status=HTTPStatus.CREATED, answers=SessionAnswer,
    ),
    Route("GET", "/sessions", _list, "List sessions", query=SessionsQuery, answers=SessionsAnswer),
    Route("GET", "/sessions/{id}", _get, "Show a session and what is at work in it", answers=SessionViewAnswer),
    Route("DELETE", "/sessions/{id}", _close, "Close a session", scope=Scope.CHAT, answers=SessionAnswer),
    Route(
        "POST", "/sessions/{id}/messages", _message, "Say something to an agent",
        scope=Scope.CHAT, takes=NewMessageBody, status=HTTPStatus.CREATED, answers=SentAnswer,
    ),
    Route(
        "POST", "/sessions/{id}/send", _send, "Say something from another session",
        scope=Scope.CHAT, takes=SendBody, status=HTTPStatus.CREATED, answers=SentAnswer,
    ),
    Route(
        "POST", "/sessions/{id}/spawn", _spawn, "Have another agent do a task for this session",
        scope=Scope.CHAT, takes=SpawnBody, status=HTTPStatus.CREATED, answers=SpawnedAnswer,
    ),
    Route(
        "GET", "/sessions/{id}/events", _events, "List what happened after a cursor",
        query=EventsQuery, answers=EventsAnswer,
    ),
)  # fmt: skip
