"""The server by HTTP, by the SDK's own client in both eras of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.mcp.conftest import Era, called
from tests.mcp.serving import http_server
from tests.mcp.test_workers import CANARY, spawned, until
from tests.pool.conftest import World, git

TOKEN = "t0ken"


@asynccontextmanager
async def by_http(world: World, *flags: str, era: Era) -> AsyncIterator[Client]:
    """Run the server, and be its host."""
    with http_server(world.daemon, *flags, AGENTD_MCP_TOKEN=TOKEN) as http:
        allowed = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            httpx2.AsyncClient(headers=allowed, timeout=60) as connection,
            Client(streamable_http_client(http.url, http_client=connection), mode=era) as client,
        ):
            yield client


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_worker_is_spawned_asked_answered_collected_and_ended_by_http(world: World, era: Era) -> None:
    async with by_http(world, era=era) as client:
        assert client.protocol_version == ("2026-07-28" if era == "auto" else "2025-11-25")
        worker = await spawned(client, world, "hello ASK-QUESTION WRITE-FILE:new.txt")
        await until(client, worker, "question")
        await called(client, "answer_request", worker=worker, decision="answer", text="Blue")
        assert "(Blue)" in str((await until(client, worker, "completed"))["answer"])
        waiting = asyncio.ensure_future(until(client, worker, "exited"))
        assert len((await client.list_tools()).tools) == 10
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        work = await called(client, "collect_work", worker=worker)
        git(world.repo, "apply", "--index", str(work["patch"]))
        assert (world.repo / "new.txt").exists()
        await called(client, "terminate_worker", worker=worker)


async def test_locked_down_it_shows_nothing_of_a_worker_by_http_either(world: World) -> None:
    async with by_http(world, "--lockdown", era="auto") as client:
        worker = await spawned(client, world, CANARY)
        seen = await client.call_tool("observe_workers", {"workers": [worker], "for": ["completed"]})
        screen = await asyncio.to_thread(world.daemon.screen, worker)
        assert CANARY in screen
        read = await client.read_resource(f"agentd://agents/{worker}/screen")
        page = await client.call_tool("read_transcript", {"worker": worker})
    for shown in (seen, read, page):
        assert CANARY not in shown.model_dump_json()
