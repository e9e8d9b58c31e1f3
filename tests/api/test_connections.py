"""No client holds up the daemon: idle, slow and hanging ones, and the end of the server."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.api.conftest import Serving
from tests.api.memory_source import RUNNING, MemorySource, ask, connected

ASK_ALL = b"GET /v1/agents HTTP/1.1\r\nHost: a\r\n\r\n"
HALF_A_REQUEST = b"GET /v1/agents HTTP/1.1\r\nHo"
HALF_A_BODY = b"POST /v1/agents HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"


@pytest.fixture
def many_agents(source: MemorySource) -> None:
    """An answer of 3 MB, more than the socket's buffers take."""
    source.statuses[:] = [replace(RUNNING, name=f"agent-{number:05}") for number in range(9000)]


@pytest.fixture
def hanging() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        yield sock


def _file_exists(path: Path) -> bool:
    return path.is_socket()


def _reported(sock: socket.socket, events: int) -> bool:
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(10_000))


async def ask_and_do_not_read(sock: socket.socket, path: Path) -> None:
    """Ask for everything, and wait only until the answer has begun."""
    sock.connect(str(path))
    sock.sendall(ASK_ALL)
    assert await asyncio.to_thread(_reported, sock, select.POLLIN)


@pytest.mark.parametrize("sent", [b"", HALF_A_REQUEST], ids=["nothing", "half a request"])
async def test_a_connection_without_a_complete_request_is_closed(
    serving: Serving, socket_path: Path, sent: bytes
) -> None:
    async with serving(idle=0.05), connected(socket_path) as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""


async def test_a_connection_is_kept_for_the_next_request_and_closed_when_none_comes(
    serving: Serving, socket_path: Path
) -> None:
    async with serving(idle=1.0), connected(socket_path) as (reader, writer):
        for _ in range(2):
            writer.write(b"HEAD /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.read() == b""


async def test_a_body_that_does_not_arrive_ends_the_connection(serving: Serving, socket_path: Path) -> None:
    async with asyncio.timeout(30), serving(unread_body=0.05), connected(socket_path) as (reader, writer):
        writer.write(HALF_A_BODY)
        assert (await reader.read()).startswith(b"HTTP/1.1 405")


async def test_others_are_answered_beside_half_sent_requests(api: Path) -> None:
    async with connected(api) as (_, half), connected(api) as (_, body):
        half.write(HALF_A_REQUEST)
        body.write(HALF_A_BODY)
        assert (await ask(api, "GET", "/v1/health")).status == 200


async def test_a_half_sent_request_is_answered_once_it_is_complete(api: Path) -> None:
    async with connected(api) as (reader, writer):
        writer.write(HALF_A_REQUEST)
        assert (await ask(api, "GET", "/v1/health")).status == 200
        writer.write(b"st: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("many_agents")
async def test_a_client_that_does_not_read_is_cut_off_and_delays_nobody(
    serving: Serving, socket_path: Path, hanging: socket.socket
) -> None:
    with capture_logs() as logs:
        async with serving(answer=0.1):
            await ask_and_do_not_read(hanging, socket_path)
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
            assert await asyncio.to_thread(_reported, hanging, 0), "not hung up on"
    assert [(entry["event"], entry["path"]) for entry in logs] == [("api_answer_not_read", "/v1/agents")]


@pytest.mark.usefixtures("many_agents")
async def test_a_large_answer_arrives_whole(api: Path) -> None:
    answer = await ask(api, "GET", "/v1/agents")
    assert len(answer.body) == int(answer.headers["content-length"]) > 2_000_000


async def test_past_the_limit_the_connection_silent_the_longest_is_closed(serving: Serving, socket_path: Path) -> None:
    async with serving(connections=2), connected(socket_path) as (first, first_out):
        first_out.write(b"HEAD /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        await first.readuntil(b"\r\n\r\n")
        async with connected(socket_path) as (second, second_out):
            second_out.write(b"HEAD /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
            await second.readuntil(b"\r\n\r\n")
            first_out.write(b"HEAD /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
            await first.readuntil(b"\r\n\r\n")
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
            assert await second.read() == b""
        first_out.write(b"HEAD /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await first.readuntil(b"\r\n\r\n")


async def test_past_what_may_be_unanswered_the_connection_with_the_most_is_closed(
    serving: Serving, socket_path: Path
) -> None:
    async with (
        serving(unanswered=10_000),
        connected(socket_path) as (little, little_out),
        connected(socket_path) as (much, much_out),
        connected(socket_path) as (most, most_out),
    ):
        for writer, size in ((little_out, 0), (much_out, 3000), (most_out, 6500)):
            writer.write(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"x" * size)
            await writer.drain()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(most.read(), 0.05)
        much_out.write(b"\r\nY: " + b"y" * 1000)
        assert await most.read() == b""
        for reader, writer in ((little, little_out), (much, much_out)):
            writer.write(b"\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")


async def test_what_was_answered_is_not_held_against_a_connection(serving: Serving, socket_path: Path) -> None:
    request = b"HEAD /v1/health?x=1 HTTP/1.1\r\nHost: a\r\nX-Padded: " + b"x" * 500 + b"\r\n\r\n"
    async with serving(unanswered=len(request)), connected(socket_path) as (reader, writer):
        for _ in range(50):
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_hundreds_of_silent_connections_lock_nobody_out(serving: Serving, socket_path: Path) -> None:
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(100)]
    try:
        async with serving(connections=10):
            for sock in silent:
                await asyncio.to_thread(sock.connect, str(socket_path))
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
    finally:
        for sock in silent:
            sock.close()


async def test_the_end_closes_idle_and_half_sent_connections_at_once(serving: Serving, socket_path: Path) -> None:
    async with asyncio.timeout(30):
        async with serving(idle=600, shutdown=600):
            idle, idle_out = await asyncio.open_unix_connection(socket_path)
            half, half_out = await asyncio.open_unix_connection(socket_path)
            half_out.write(HALF_A_REQUEST)
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
        assert await idle.read() == b""
        assert await half.read() == b""
    for writer in (idle_out, half_out):
        writer.close()
        await writer.wait_closed()


@pytest.mark.usefixtures("many_agents")
async def test_the_end_waits_for_no_client_that_does_not_read(
    serving: Serving, socket_path: Path, hanging: socket.socket
) -> None:
    async with asyncio.timeout(30), serving(shutdown=0.05, answer=600):
        await ask_and_do_not_read(hanging, socket_path)
    assert await asyncio.to_thread(_reported, hanging, 0), "not hung up on"


async def test_the_end_waits_for_no_handler_and_no_body(serving: Serving, socket_path: Path) -> None:
    entered = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with asyncio.timeout(30):
        async with serving(web.get("/hang", hang), shutdown=0.05, unread_body=600):
            hanging, hanging_out = await asyncio.open_unix_connection(socket_path)
            hanging_out.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            body, body_out = await asyncio.open_unix_connection(socket_path)
            body_out.write(HALF_A_BODY)
            await entered.wait()
            await body.readuntil(b"\r\n\r\n")
        assert await hanging.read() == b""
        assert (await body.read()).startswith(b'{"error"')
    for writer in (hanging_out, body_out):
        writer.close()
        await writer.wait_closed()


async def test_the_end_lets_an_answer_in_progress_finish(serving: Serving, socket_path: Path) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        entered.set()
        await go_on.wait()
        return web.Response(text="x" * 1_000_000)

    async with serving(web.get("/wait", wait), shutdown=20):
        asking = asyncio.create_task(ask(socket_path, "GET", "/wait"))
        await entered.wait()
        asyncio.get_running_loop().call_soon(go_on.set)
    answer = await asking
    assert answer.status == 200
    assert len(answer.body) == 1_000_000


async def test_the_end_closes_the_socket_and_leaves_its_file_to_the_caller(
    serving: Serving, socket_path: Path, listening: socket.socket
) -> None:
    async with serving():
        assert (await ask(socket_path, "GET", "/v1/health")).status == 200
    assert listening.fileno() == -1
    assert _file_exists(socket_path)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(socket_path)
