"""Hiring agents."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from agentd.gateway.http.access import caller
from agentd.gateway.http.bodies import HireBody
from agentd.gateway.http.body import JsonObject, read_body
from agentd.gateway.http.idempotent import answer_once
from agentd.gateway.http.route import ENGINE, Route
from agentd.gateway.http.shapes import HiredAnswer
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import DEFAULT_HARNESS, Hire
from agentd.model.gateway import Scope


async def _hire(request: web.Request) -> web.Response:
    body = await read_body(request, HireBody)
    wanted = Hire(body.role, body.name, body.harness or DEFAULT_HARNESS, body.model)

    async def act(_once: Once | None) -> JsonObject:
        return (await request.app[ENGINE].hiring.hire(caller(request), wanted)).json()

    return await answer_once(request, body, HTTPStatus.OK, act, stored=False)


ROUTES = (
    Route(
        "POST",
        "/hire",
        _hire,
        "Declare an agent of a role in a workspace of its own, unless it is, and wait until it runs",
        scope=Scope.AGENTS,
        takes=HireBody,
        answers=HiredAnswer,
        errors={HTTPStatus.CONFLICT: "Somebody else hired one of that name."},
    ),
)
