"""What is refused, and how: other methods, malformed requests, failing handlers."""

from __future__ import annotations

import asyncio
import http
import json
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from agentd.model.status import Health
from tests.api.conftest import Serving
from tests.api.memory_source import MemorySource, ask, request, send
from tests.support.leaving import LateWrite

METHODS = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "LINK", "BREW", "get", "GETX"]
PATHS = ["/v1/health", "/v1/agents", "/v1/agents/reviewer-0", "/v1/plan", "/v1/openapi.json"]
OTHER_PATHS = ["/v1/agents/nobody", "/nothing", "/"]


@pytest.mark.parametrize("path", [*PATHS, *OTHER_PATHS])
@pytest.mark.parametrize("method", METHODS)
async def test_any_other_method_is_405_and_says_what_is_allowed(api: Path, method: str, path: str) -> None:
    answer = await ask(api, method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.error == "the API is read only: use GET or HEAD"


@pytest.mark.parametrize(("method", "target"), [("OPTIONS", "*"), ("CONNECT", "localhost:80")])
async def test_methods_with_a_target_that_is_no_path_are_405_too(api: Path, method: str, target: str) -> None:
    answer = await ask(api, method, target)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.error


async def test_a_body_changes_nothing(api: Path) -> None:
    answer = await ask(api, "POST", "/v1/agents", "Content-Length: 2", body="{}")
    assert answer.status == 405
    answer = await ask(api, "GET", "/v1/agents/reviewer-0", "Content-Length: 2", body="{}")
    assert answer.status == 200


MALFORMED = {
    "no request line": b"GARBAGE\r\n\r\n",
    "bytes": b"\xff\xfe\x00\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
    "an unknown version": b"GET /v1/health HTTP/9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\n\r\n",
    "a relative target": b"GET v1 HTTP/1.1\r\n\r\n",
    "a space in the target": b"GET /v1/agents/a b HTTP/1.1\r\n\r\n",
    "a broken absolute target": b"GET http://[ HTTP/1.1\r\n\r\n",
    "a long and broken absolute target": b"GET h" + b"a" * 4000 + b"://[ HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET /v1/health HTTP/1.1\r\n\r\n",
    "a line that is no header": b"GET /v1/health HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
    "a length that is no number": b"GET /v1/health HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
    "a huge header": b"GET /v1/health HTTP/1.1\r\nHost: a\r\nX-Secret: " + b"s3cr3t" * 5000 + b"\r\n\r\n",
    "a huge target": b"GET /" + b"s3cr3t" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: a\r\n" % i for i in range(500)) + b"\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_request_is_a_short_json_400_and_the_api_goes_on(api: Path, raw: bytes) -> None:
    answer = await send(api, raw)
    assert answer.status == 400
    assert answer.error.startswith("bad request: ")
    assert len(answer.error) < 100
    assert "s3cr3t" not in answer.error
    assert (await ask(api, "GET", "/v1/health")).status == 200


@pytest.mark.parametrize("expected", [b"miracles", b"\xff 100-continue"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_expectation_that_is_not_known_is_a_json_417(api: Path, method: str, expected: bytes) -> None:
    answer = await send(api, request(method, "/v1/health", "Expect: *").replace(b"*", expected))
    assert answer.status == 417
    assert answer.error == "expectation failed"


async def test_a_megabyte_that_ends_in_no_line_is_refused_without_holding_up_others(api: Path) -> None:
    # Server and clients share one event loop here: refusing that took long would show as the timeout.
    async with asyncio.timeout(30):
        answers = await asyncio.gather(
            *(send(api, b"A" * 200_000) for _ in range(5)), *(ask(api, "GET", "/v1/health") for _ in range(5))
        )
    assert [answer.status for answer in answers] == [400] * 5 + [200] * 5


class BrokenSource(MemorySource):
    def health(self) -> Health:
        raise RuntimeError("s3cr3t")


@pytest.mark.parametrize("source", [BrokenSource()])
@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_a_handlers_exception_is_logged_and_not_shown(api: Path, accept: str) -> None:
    with capture_logs() as logs:
        answer = await ask(api, "GET", "/v1/health", f"Accept: {accept}")
    assert answer.status == 500
    assert answer.error == "internal error; the daemon's log has the details"
    [entry] = logs
    assert (entry["event"], entry["log_level"], entry["path"]) == ("api_request_failed", "error", "/v1/health")
    assert str(entry["exc_info"]) == "s3cr3t"
    assert (await ask(api, "GET", "/v1/agents")).status == 200


async def test_aiohttps_own_errors_are_json(serving: Serving, socket_path: Path) -> None:
    async def read_all(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def time_out(_: web.Request) -> web.Response:
        raise TimeoutError

    async with serving(web.get("/read", read_all), web.get("/timeout", time_out)):
        body = "x" * 2_000_000
        too_large = await ask(socket_path, "GET", "/read", f"Content-Length: {len(body)}", body=body)
        with capture_logs() as logs:
            timed_out = await ask(socket_path, "GET", "/timeout")
    assert (too_large.status, too_large.error) == (413, http.HTTPStatus(413).phrase.lower())  # Python 3.13 has another
    assert (timed_out.status, timed_out.error) == (500, "internal error; the daemon's log has the details")
    assert [entry["event"] for entry in logs] == ["api_request_failed"]


async def test_an_answer_that_broke_off_is_cut_and_not_continued_by_an_error(
    serving: Serving, socket_path: Path
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise RuntimeError("halfway")

    async with serving(web.get("/half", half)):
        with capture_logs() as logs:
            answer = await ask(socket_path, "GET", "/half")
    assert answer.status == 200
    assert b"half" in answer.body
    assert b"error" not in answer.body
    assert [entry["event"] for entry in logs] == ["api_request_failed"]


async def test_a_client_that_goes_before_it_is_answered_is_no_defect(serving: Serving, socket_path: Path) -> None:
    late = LateWrite()
    async with serving(late.route()):
        with capture_logs() as logs:
            await late.leave(socket_path)
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
    assert logs == []


async def test_requests_after_a_refused_one_are_answered_on_the_same_connection(api: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(api)
    writer.write(b"DELETE /v1/agents HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/agents/nobody HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.write(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert [line.split()[1] for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")] == [b"405"]
    assert raw.count(b"HTTP/1.1 404") == 1
    assert json.loads(raw.rpartition(b"\r\n\r\n")[2])["state"] == "running"
