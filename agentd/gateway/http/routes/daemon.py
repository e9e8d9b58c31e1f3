"""The gateway itself: its health and status."""

from __future__ import annotations

from aiohttp import web

from agentd import __version__
from agentd.gateway.http.access import ACCESS
from agentd.gateway.http.body import JsonObject
from agentd.gateway.http.idempotent import json_answer
from agentd.gateway.http.route import CHANNELS, ENGINE, Route
from agentd.gateway.http.shapes import DaemonStatusAnswer, HealthAnswer


async def _health(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    reachable = await engine.agentd.reachable()
    state = "reachable" if reachable else "unreachable"
    well = engine.database.trouble is None
    status = "healthy" if well else "degraded"
    known: JsonObject = {"ok": well, "status": status, "version": __version__, "agentd": state}
    if not well:
        # Why stands in the log: it names paths and hosts, and whoever asks needs no token.
        known["database"] = "unavailable"
    if shown := request.app[CHANNELS].shown():
        # Whoever has no token is not told whose they are.
        names = ("backend", "state") if request.app[ACCESS].guarded else ("agent", "backend", "channel_name", "state")
        known["channels"] = [{name: getattr(each, name) for name in names} for each in shown]
    return json_answer(known)


async def _status(request: web.Request) -> web.Response:
    return json_answer((await request.app[ENGINE].status.daemon()).json())


ROUTES = (
    Route("GET", "/health", _health, "Whether the gateway answers, and agentd", scope=None, answers=HealthAnswer),
    Route("GET", "/daemon/status", _status, "How the gateway does", answers=DaemonStatusAnswer),
)
