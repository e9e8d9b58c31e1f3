"""``/metrics``: the gateway's metrics, in Prometheus' text format."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from agentd.gateway.http.access import Handler, caller
from agentd.gateway.http.route import CHANNELS, ENGINE, Route
from agentd.gateway.model.results import ChannelCondition

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


_LEFT: Final = 499
"""As nginx has it: the client left before its answer."""


class Metrics:
    """What is measured, from the start of the gateway on."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "agentd_gateway_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "agentd_gateway_request_seconds",
            "Time from a request to its answer; streams have none.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("agentd_gateway_streams", "Answers that go on.", registry=self.registry)
        self.runs = Gauge("agentd_gateway_runs", "Runs that wait or are at work.", ["status"], registry=self.registry)
        self.workers = Gauge("agentd_gateway_workers", "Runs that can be at work at once.", registry=self.registry)
        self.channels = Gauge(
            "agentd_gateway_channel_up",
            "Whether a channel has its broker.",
            ["agent", "backend", "channel"],
            registry=self.registry,
        )
        self.messages = Gauge(
            "agentd_gateway_channel_messages",
            "Messages by channels since the gateway started, by what became of them.",
            ["agent", "backend", "channel", "outcome"],
            registry=self.registry,
        )
        self.agentd = Gauge("agentd_gateway_agentd_up", "Whether agentd answers.", registry=self.registry)


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request, and the time to its answer."""
    metrics = request.app[METRICS]
    resource = request.match_info.route.resource
    route = "none" if resource is None else resource.canonical
    method = request.method if request.method in hdrs.METH_ALL else "other"
    begun = time.monotonic()
    status = HTTPStatus.INTERNAL_SERVER_ERROR.value
    try:
        response = await handler(request)
        status = response.status
        if isinstance(response, web.Response):
            metrics.seconds.labels(route).observe(time.monotonic() - begun)
        return response
    except asyncio.CancelledError:
        status = _LEFT
        raise
    finally:
        metrics.requests.labels(method, route, status).inc()


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[METRICS]
    status = await request.app[ENGINE].status.daemon()
    metrics.runs.labels("queued").set(status.queue_counts.queued_count)
    metrics.runs.labels("running").set(status.queue_counts.running_count)
    metrics.workers.set(status.max_concurrency)
    metrics.agentd.set(status.daemon_health == "ok")
    metrics.channels.clear()
    metrics.messages.clear()
    for each in request.app[CHANNELS].shown(caller(request)):
        named = (each.agent, each.backend, each.channel_name)
        metrics.channels.labels(*named).set(each.state == ChannelCondition.CONNECTED)
        for outcome, count in each.counts.items():
            metrics.messages.labels(*named, outcome).set(count)
    return web.Response(body=generate_latest(metrics.registry), headers={hdrs.CONTENT_TYPE: TEXT})


ROUTES = (Route("GET", "/metrics", _metrics, "How the gateway does, for Prometheus", media_type=TEXT),)
