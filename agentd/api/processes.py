"""``GET /v1/agents/{name}/processes``: what an agent has running now, by command."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from aiohttp import web

from agentd.api.responses import error_response, json_response
from agentd.api.route import AGENT_NAME, NO_SUCH_AGENT, Route
from agentd.api.views import PROCESSES
from agentd.model.processes import ProcessSource

log = structlog.get_logger(__name__)

PROCESS_SOURCE: web.AppKey[ProcessSource] = web.AppKey("processes")


async def _processes(request: web.Request) -> web.StreamResponse:
    try:
        found = await request.app[PROCESS_SOURCE].processes(request.match_info["name"])
    except OSError as error:
        log.warning("processes_not_listed", error=error.strerror)
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE, f"the processes cannot be listed: {error.strerror}")
    if found is None:
        return error_response(HTTPStatus.NOT_FOUND, "agent not found")
    return json_response(PROCESSES.encode(found))


PROCESSES_ROUTE = Route(
    "/v1/agents/{name}/processes",
    "getProcesses",
    "The processes of an agent now, by command",
    _processes,
    PROCESSES,
    parameters=AGENT_NAME,
    errors={**NO_SUCH_AGENT, HTTPStatus.SERVICE_UNAVAILABLE: "The processes cannot be listed."},
)
