"""The table of everything the API serves; the application and its OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Never

from aiohttp import web

from agentd.api.responses import JSON, error_response, json_response
from agentd.api.views import AGENT, AGENTS, DOCUMENT, HEALTH, PLAN, View
from agentd.supervise.snapshot import StatusSource

SOURCE: web.AppKey[StatusSource] = web.AppKey("source")
ENCODED_DOCUMENT: web.AppKey[bytes] = web.AppKey("encoded_document")


@dataclass(frozen=True, slots=True)
class Route:
    """One path, answered to GET and HEAD."""

    path: str
    """With ``{parameter}`` as aiohttp and OpenAPI both write it."""
    operation: str
    """OpenAPI's ``operationId``."""
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    view: View[Never]
    """What a 200 carries."""
    media_type: str = JSON
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Description by the name of each path parameter."""
    errors: Mapping[HTTPStatus, str] = field(default_factory=dict)
    """Description by status of the errors that only this route answers."""


async def _health(request: web.Request) -> web.Response:
    return json_response(HEALTH.encode(request.app[SOURCE].health()))


async def _agents(request: web.Request) -> web.Response:
    return json_response(AGENTS.encode([*request.app[SOURCE].agents()]))


async def _agent(request: web.Request) -> web.Response:
    agent = request.app[SOURCE].agent(request.match_info["name"])
    if agent is None:
        return error_response(HTTPStatus.NOT_FOUND, "agent not found")
    return json_response(AGENT.encode(agent))


async def _plan(request: web.Request) -> web.Response:
    return json_response(PLAN.encode(request.app[SOURCE].plan()))


async def _document(request: web.Request) -> web.Response:
    return json_response(request.app[ENCODED_DOCUMENT])


ROUTES = (
    Route("/v1/health", "getHealth", "The daemon and its configuration", _health, HEALTH),
    Route("/v1/agents", "listAgents", "All agents, sorted by name", _agents, AGENTS),
    Route(
        "/v1/agents/{name}",
        "getAgent",
        "One agent",
        _agent,
        AGENT,
        parameters={"name": "The agent's name, compared without regard to case."},
        errors={HTTPStatus.NOT_FOUND: "There is no agent of this name."},
    ),
    Route("/v1/plan", "getPlan", "What the daemon would still do, and why; normally no operations", _plan, PLAN),
    Route("/v1/openapi.json", "getDocument", "This description of the API", _document, DOCUMENT),
)
