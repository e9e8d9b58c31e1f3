"""Answers that go on: they end with their pieces, their client or the server, and hold up nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from agentd.api.streams import stream
from tests.api.conftest import Serving
from tests.api.memory_source import ask, connected
from tests.support.loop_clock import pass_time

ASK = b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"


class Source:
    """Pieces as the test gives them."""

    def __init__(self, *pieces: bytes, ends: bool = False) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        for piece in (*pieces, *((None,) if ends else ())):
            self.queue.put_nowait(piece)
        self.taken = 0
        self.opened = 0
        self.closed = asyncio.Event()

    def route(self) -> web.RouteDef:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await stream(request, self.pieces(), "text/x-pieces")

        return web.get("/stream", handler)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        self.opened += 1
        try:
            while (piece := await self.queue.get()) is not None:
                self.taken += 1
                yield piece
        finally:
            self.closed.set()


class Endless(Source):
    """More pieces than anybody takes."""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.taken += 1
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def test_pieces_are_sent_as_they_come_and_the_answer_ends_with_them(serving: Serving, socket_path: Path) -> None:
    source = Source()
    async with (
        serving(source.route(), answer=10, idle=10),
        connected(socket_path) as (reader, writer),
    ):
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Content-Type: text/x-pieces\r\n" in head
        for piece in (b"one", b"two"):
            await pass_time(30)  # far longer than a request or an answer may take
            source.queue.put_nowait(piece)
            assert await reader.readuntil(piece + b"\r\n") == b"3\r\n" + piece + b"\r\n"
        source.queue.put_nowait(None)
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        await source.closed.wait()


async def test_head_is_answered_at_once(serving: Serving, socket_path: Path) -> None:
    async with asyncio.timeout(30), serving(Source(b"x").route()):
        answer = await ask(socket_path, "HEAD", "/stream")
    assert (answer.status, answer.body) == (200, b"")


async def test_a_client_that_leaves_while_nothing_is_sent_ends_the_stream(serving: Serving, socket_path: Path) -> None:
    source = Source(b"x")
    async with asyncio.timeout(30), serving(source.route()):
        async with connected(socket_path) as (reader, writer):
            writer.write(ASK)
            await reader.readuntil(b"x")
        await source.closed.wait()


async def test_a_client_that_takes_nothing_is_cut_off_and_little_is_held_for_it(
    serving: Serving, socket_path: Path
) -> None:
    source = Endless()
    with capture_logs() as logs, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        async with asyncio.timeout(30), serving(source.route(), answer=0.1):
            sock.connect(str(socket_path))
            sock.sendall(ASK)
            await source.closed.wait()
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
    assert source.taken < 16
    assert [(entry["event"], entry["path"]) for entry in logs] == [("api_stream_not_read", "/stream")]


async def test_a_client_that_takes_little_at_a_time_is_not_cut_off(serving: Serving, socket_path: Path) -> None:
    source = Endless()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        # A Unix socket tells the sender of room only when three quarters of its 200 KiB are free.
        async with serving(source.route(), answer=10):
            sock.connect(str(socket_path))
            sock.sendall(ASK)
            for _ in range(15):
                await pass_time(1)
                assert len(await asyncio.to_thread(sock.recv, 131072)) > 0
            assert not source.closed.is_set()


async def test_streams_are_not_closed_for_others_and_are_limited(serving: Serving, socket_path: Path) -> None:
    source = Source()
    async with (
        asyncio.timeout(30),
        serving(source.route(), connections=2, streams=1),
        connected(socket_path) as (reader, writer),
    ):
        writer.write(ASK)
        await reader.readuntil(b"\r\n\r\n")
        second = await ask(socket_path, "GET", "/stream")
        assert second.status == 503
        assert "1 streams already" in second.error
        for _ in range(3):
            async with connected(socket_path):
                assert (await ask(socket_path, "GET", "/v1/health")).status == 200
        source.queue.put_nowait(b"still")
        await reader.readuntil(b"still")


@pytest.mark.parametrize("kind", [Source, Endless])
async def test_the_end_of_the_server_ends_streams_at_once(
    serving: Serving, socket_path: Path, listening: socket.socket, kind: type[Source]
) -> None:
    source = kind(b"x")
    async with asyncio.timeout(30), AsyncExitStack() as clients:
        async with serving(source.route(), shutdown=0.05):
            reader, writer = await clients.enter_async_context(connected(socket_path))
            writer.write(ASK)
            await reader.readuntil(b"x")
        assert source.closed.is_set()
    assert listening.fileno() == -1


async def test_the_end_of_the_server_is_the_end_of_the_answer(serving: Serving, socket_path: Path) -> None:
    source = Source(b"x")
    async with asyncio.timeout(30), AsyncExitStack() as clients:
        async with serving(source.route(), shutdown=600):
            reader, writer = await clients.enter_async_context(connected(socket_path))
            writer.write(ASK)
            await reader.readuntil(b"x")
        assert (await reader.read()).endswith(b"0\r\n\r\n")
