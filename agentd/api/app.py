"""The application: the route table over a source of status, read only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from agentd.api.events import JOURNAL
from agentd.api.log import READER
from agentd.api.metrics import METRICS, measured
from agentd.api.processes import PROCESS_SOURCE
from agentd.api.responses import READ_METHODS, method_not_allowed
from agentd.api.route import SOURCE, StatusSource
from agentd.api.routes import DESCRIBING, ROUTES
from agentd.api.screen import SCREENS
from agentd.model.processes import ProcessSource
from agentd.model.screen import ScreenSource
from agentd.recording.journal.journal import Journal
from agentd.recording.metrics.answer import Metrics
from agentd.recording.transcripts.reader import TranscriptReader


def build_app(
    source: StatusSource,
    *,
    transcripts: TranscriptReader,
    screens: ScreenSource,
    processes: ProcessSource,
    journal: Journal,
    metrics: Metrics,
) -> web.Application:
    """Make the application that `agentd.api.serve.serve` runs.

    Errors get their JSON form there: unknown paths, malformed requests, exceptions of handlers.
    """
    app = web.Application(middlewares=[measured, _read_only])
    app[SOURCE] = source
    app[DESCRIBING] = asyncio.Lock()
    app[JOURNAL] = journal
    app[METRICS] = metrics
    app[READER] = transcripts
    app[SCREENS] = screens
    app[PROCESS_SOURCE] = processes
    app.add_routes([web.get(route.path, route.handler) for route in ROUTES])
    return app


@web.middleware
async def _read_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method not in READ_METHODS:
        return method_not_allowed()
    return await handler(request)
