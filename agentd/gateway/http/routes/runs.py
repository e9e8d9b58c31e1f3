"""Runs: turns, from the queue to their end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from agentd.gateway.http.access import caller
from agentd.gateway.http.bodies import (
    AnswerBody,
    CancelBody,
    NewRunBody,
    ReplyParentBody,
    RunsQuery,
    SpawnBody,
    TransitionBody,
    WaitQuery,
)
from agentd.gateway.http.body import JsonObject, read_body, read_query
from agentd.gateway.http.idempotent import answer_once, json_answer
from agentd.gateway.http.route import CHANNELS, CLOSING, ENGINE, Route
from agentd.gateway.http.shapes import (
    CanceledAnswer,
    DiagnosisAnswer,
    ReplyAnswer,
    RunAnswer,
    RunsAnswer,
    SpawnedAnswer,
    WaitedAnswer,
)
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewChild, RunQuery
from agentd.model.gateway import Scope


async def _create(request: web.Request) -> web.Response:
    body = await read_body(request, NewRunBody)

    async def act(once: Once | None) -> JsonObject:
        run = await request.app[ENGINE].sessions.create_run(
            caller(request), body.session_id, body.prompt, body.timeout_s, once
        )
        return {"run": run.json()}

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _list(request: web.Request) -> web.Response:
    query = read_query(request, RunsQuery)
    wanted = RunQuery(query.limit, query.cursor, query.session_id, query.status)
    return json_answer((await request.app[ENGINE].runs.list(caller(request), wanted)).json())


async def _get(request: web.Request) -> web.Response:
    run = await request.app[ENGINE].runs.get(caller(request), request.match_info["id"])
    return json_answer({"run": run.json()})


async def _wait(request: web.Request) -> web.Response:
    query = read_query(request, WaitQuery)
    engine, who, run_id = request.app[ENGINE], caller(request), request.match_info["id"]
    waiting = asyncio.create_task(engine.runs.wait(who, run_id, query.timeout_s))
    closing = asyncio.create_task(request.app[CLOSING].wait())
    try:
        await asyncio.wait([waiting, closing], return_when=asyncio.FIRST_COMPLETED)
        # A gateway that stops tells what it knows.
        waited = await waiting if waiting.done() else await engine.runs.wait(who, run_id, 0)
    finally:
        waiting.cancel()
        closing.cancel()
    return json_answer(waited.json())


async def _transition(request: web.Request) -> web.Response:
    body = await read_body(request, TransitionBody)

    async def act(_once: Once | None) -> JsonObject:
        engine, run_id = request.app[ENGINE], request.match_info["id"]
        return {"run": (await engine.runs.transition(caller(request), run_id, body.to_status, body.reason)).json()}

    return await answer_once(request, body, HTTPStatus.OK, act, stored=False)


async def _cancel(request: web.Request) -> web.Response:
    body = await read_body(request, CancelBody)

    async def act(_once: Once | None) -> JsonObject:
        return (await request.app[ENGINE].runs.cancel(caller(request), request.match_info["id"], body.reason)).json()

    return await answer_once(request, body, HTTPStatus.ACCEPTED, act, stored=False)


async def _answer(request: web.Request) -> web.Response:
    body = await read_body(request, AnswerBody)

    async def act(_once: Once | None) -> JsonObject:
        engine, run_id = request.app[ENGINE], request.match_info["id"]
        run = await engine.runs.answer(caller(request), run_id, body.request_id, body.decision, body.text)
        return {"run": run.json()}

    return await answer_once(request, body, HTTPStatus.OK, act, stored=False)


async def _spawn(request: web.Request) -> web.Response:
    body = await read_body(request, SpawnBody)
    child = NewChild(body.task, body.agent, body.harness, body.workdir)

    async def act(once: Once | None) -> JsonObject:
        run_id = request.match_info["id"]
        return (await request.app[ENGINE].family.spawn_from_run(caller(request), run_id, child, once)).json()

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _reply_parent(request: web.Request) -> web.Response:
    body = await read_body(request, ReplyParentBody)

    async def act(once: Once | None) -> JsonObject:
        engine, run_id = request.app[ENGINE], request.match_info["id"]
        return (await engine.family.reply_parent(caller(request), run_id, body.text, body.request_kind, once)).json()

    return await answer_once(request, body, HTTPStatus.CREATED, act)


async def _diagnose(request: web.Request) -> web.Response:
    run_id = request.match_info["id"]
    diagnosis = await request.app[ENGINE].status.diagnose(caller(request), run_id)
    channel = await request.app[CHANNELS].of_run(run_id)
    return json_answer(replace(diagnosis, diagnostics=replace(diagnosis.diagnostics, channel=channel)).json())


ROUTES = (
    Route(
        "POST", "/runs", _create, "Queue a run",
        scope=Scope.CHAT, takes=NewRunBody, status=HTTPStatus.CREATED, answers=RunAnswer,
    ),
    Route("GET", "/runs", _list, "List runs", query=RunsQuery, answers=RunsAnswer),
    Route("GET", "/runs/{id}", _get, "Show a run", answers=RunAnswer),
    Route("GET", "/runs/{id}/wait", _wait, "Wait until a run is over", query=WaitQuery, answers=WaitedAnswer),
    Route(
        "POST", "/runs/{id}/transition", _transition, "Put a run into another state",
        scope=Scope.CHAT, takes=TransitionBody, answers=RunAnswer,
    ),
    Route(
        "POST", "/runs/{id}/cancel", _cancel, "Cancel a run and those it spawned",
        scope=Scope.CHAT, takes=CancelBody, status=HTTPStatus.ACCEPTED, answers=CanceledAnswer,
    ),
    Route(
        "POST", "/runs/{id}/spawn", _spawn, "Have another agent do a task for this run",
        scope=Scope.CHAT, takes=SpawnBody, status=HTTPStatus.CREATED, answers=SpawnedAnswer,
    ),
    Route(
        "POST", "/runs/{id}/reply-parent", _reply_parent, "Say something to the session that spawned this run's",
        scope=Scope.CHAT, takes=ReplyParentBody, status=HTTPStatus.CREATED, answers=ReplyAnswer,
    ),
    Route(
        "POST", "/runs/{id}/answer", _answer, "Answer what the agent asks",
        scope=Scope.CHAT, takes=AnswerBody, answers=RunAnswer,
    ),
    Route("GET", "/runs/{id}/diagnose", _diagnose, "Say why a run may be stuck", answers=DiagnosisAnswer),
)  # fmt: skip
