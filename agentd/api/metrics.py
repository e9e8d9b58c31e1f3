"""``GET /metrics``, and the measuring of what the API does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from agentd.api.route import Route
from agentd.api.streams import STREAMS
from agentd.recording.metrics.answer import Metrics
from agentd.recording.metrics.measures import CONNECTIONS, Family
from agentd.recording.metrics.measures import STREAMS as FOLLOWERS

METRICS: web.AppKey[Metrics] = web.AppKey("metrics")
OPEN_CONNECTIONS: web.AppKey[Callable[[], int]] = web.AppKey("open_connections")

TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def _metrics(request: web.Request) -> web.StreamResponse:
    clients = [
        Family(CONNECTIONS, {(): request.app[OPEN_CONNECTIONS]()}),
        Family(FOLLOWERS, {(): request.app[STREAMS].count}),
    ]
    return web.Response(body=await request.app[METRICS].text(clients), headers={hdrs.CONTENT_TYPE: TEXT})


@web.middleware
async def measured(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Measure the time from a request to its answer; a stream has none."""
    metrics = request.app[METRICS]
    begun = metrics.now()
    streamed = False
    try:
        response = await handler(request)
        streamed = not isinstance(response, web.Response)
        return response
    finally:
        if not streamed:
            resource = request.match_info.route.resource
            route = "none" if resource is None else resource.canonical
            metrics.counters.answered(route, metrics.now() - begun)


METRICS_ROUTE = Route(
    "/metrics",
    "getMetrics",
    "Metrics in the text format of Prometheus; docs/reference/metrics.md explains each",
    _metrics,
    None,
    texts={TEXT: "The text-based exposition format."},
)
