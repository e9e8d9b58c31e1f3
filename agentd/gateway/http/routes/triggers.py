"""Webhooks that start agents."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from aiohttp import web

from agentd.gateway.http.idempotent import json_answer
from agentd.gateway.http.route import Route
from agentd.gateway.http.webhooks import WEBHOOKS, Taken


async def _take(request: web.Request) -> web.Response:
    taken = await request.app[WEBHOOKS].take(request)
    return json_answer(asdict(taken), HTTPStatus.ACCEPTED if taken.accepted else HTTPStatus.OK)


ROUTES = (
    Route(
        "POST",
        "/triggers/{name}",
        _take,
        "Start the agent of a trigger once for this webhook, which is signed as GitHub signs them",
        # Its signature lets it in.
        scope=None,
        status=HTTPStatus.ACCEPTED,
        answers=Taken,
        errors={
            HTTPStatus.UNAUTHORIZED: "There is no such trigger, or the body is not signed with its secret.",
            HTTPStatus.SERVICE_UNAVAILABLE: "It cannot be kept now, or its secret is not there.",
        },
    ),
)
