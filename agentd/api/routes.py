"""The table of everything the API serves; the application and its OpenAPI document are made from it."""

from __future__ import annotations

import asyncio
from functools import cache
from http import HTTPStatus

from aiohttp import web

import agentd
from agentd.api.events import EVENTS_ROUTE
from agentd.api.log import LOG_ROUTE, RUNS_ROUTE
from agentd.api.metrics import METRICS_ROUTE
from agentd.api.openapi import describe
from agentd.api.processes import PROCESSES_ROUTE
from agentd.api.responses import error_response, json_response
from agentd.api.route import AGENT_NAME, NO_SUCH_AGENT, SOURCE, Route
from agentd.api.screen import SCREEN_ROUTE
from agentd.api.views import AGENT, AGENTS, DOCUMENT, HEALTH, PLAN
from agentd.files.worker import in_thread


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


DESCRIBING = web.AppKey("DESCRIBING", asyncio.Lock)
"""Held while the API is described, so that a crowd that asks first has it done once."""


async def _document(request: web.Request) -> web.Response:
    async with request.app[DESCRIBING]:
        if not _encoded_document.cache_info().currsize:
            await in_thread("openapi", _encoded_document)
    return json_response(_encoded_document())


@cache
def _encoded_document() -> bytes:
    """Describe the API when somebody asks: reading the docstrings takes 50 ms."""
    return DOCUMENT.encode(describe(ROUTES, agentd.__version__))


ROUTES = (
    Route("/v1/health", "getHealth", "The daemon and its configuration", _health, HEALTH),
    Route("/v1/agents", "listAgents", "All agents, sorted by name", _agents, AGENTS),
    Route(
        "/v1/agents/{name}",
        "getAgent",
        "One agent",
        _agent,
        AGENT,
        parameters=AGENT_NAME,
        errors=NO_SUCH_AGENT,
    ),
    RUNS_ROUTE,
    LOG_ROUTE,
    SCREEN_ROUTE,
    PROCESSES_ROUTE,
    EVENTS_ROUTE,
    Route("/v1/plan", "getPlan", "What the daemon would still do, and why; normally no operations", _plan, PLAN),
    METRICS_ROUTE,
    Route("/v1/openapi.json", "getDocument", "This description of the API", _document, DOCUMENT),
)
