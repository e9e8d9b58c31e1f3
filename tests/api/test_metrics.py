"""``GET /metrics`` is Prometheus' format, and measures the API itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.api.memory_source import ask, connected
from tests.api.test_events import follow


async def scraped(api: Path) -> dict[tuple[str, str], float]:
    """Each sample by its name and route."""
    answer = await ask(api, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, sample.labels.get("route", "")): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def test_requests_are_counted_by_route_and_streams_are_not(api: Path) -> None:
    for target in ("/v1/agents/reviewer-0", "/v1/agents/nobody", "/v1/health", "/nonsense", "/v1/events"):
        await ask(api, "GET", target)
    await ask(api, "POST", "/v1/health")
    async with asyncio.timeout(30), connected(api) as (reader, writer):
        writer.write(follow())
        await reader.readuntil(b"retry")
        found = await scraped(api)
    count = "agentd_api_request_duration_seconds_count"
    counted = {route: value for (name, route), value in found.items() if name == count}
    assert counted == {"/v1/agents/{name}": 2, "/v1/health": 1, "none": 2}
    assert found["agentd_api_connections", ""] == 2
    assert found["agentd_api_streams", ""] == 1
    assert ("agentd_api_request_duration_seconds_count", "/metrics") in await scraped(api)
