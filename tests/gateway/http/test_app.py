"""What is asked of every request, and what every answer carries, with routes that only say who asked for what."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from structlog.testing import capture_logs

from agentd.gateway.engine.engine import Engine
from agentd.gateway.http import docs, openapi
from agentd.gateway.http.access import caller
from agentd.gateway.http.app import build_app
from agentd.gateway.http.body import LARGEST, read_body
from agentd.gateway.http.guard import Access
from agentd.gateway.http.route import Route
from agentd.gateway.http.server import ServerLimits, serve
from agentd.gateway.model.caller import Token
from agentd.gateway.model.errors import DatabaseUnavailableError
from agentd.model.gateway import Scope

TOKENS = (Token.of("root"), Token.of("alices", "alice", [Scope.CHAT]), Token.of("bobs", "bob", [Scope.READ]))
AS_ROOT = {"Authorization": "Bearer root"}


class Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    text: str
    number: int = Field(0, le=100)


async def _who(request: web.Request) -> web.Response:
    return web.json_response({"user": caller(request).user})


async def _take(request: web.Request) -> web.Response:
    return web.json_response((await read_body(request, Given)).model_dump())


async def _fail(_request: web.Request) -> web.Response:
    raise RuntimeError("a secret of the program")


async def _no_database(_request: web.Request) -> web.Response:
    raise DatabaseUnavailableError("postgresql://somebody@somewhere: it is gone")


async def _leave(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"begun")
    raise ConnectionResetError("the client takes nothing")


async def _open(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


DOUBLED = (
    Route("GET", "/who", _who, "Who asks"),
    Route("POST", "/who", _take, "Take", scope=Scope.CHAT),
    Route("GET", "/open", _open, "Open", scope=None),
)
OTHERS = (
    *docs.ROUTES,
    *openapi.ROUTES,
    Route("GET", "/v1/fail", _fail, "Fail"),
    Route("GET", "/left", _leave, "Find that the client has gone"),
    Route("GET", "/v1/database", _no_database, "Fail for want of a database"),
    Route("POST", "/agents", _take, "Declare", scope=Scope.AGENTS),
)


NO_ENGINE = cast("Engine", None)


class Server:
    def __init__(self, client: aiohttp.ClientSession, base: str) -> None:
        self._client, self._base = client, base

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        data: bytes | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        async with self._client.request(
            method, self._base + path, headers=headers or {}, data=None if data is None else io.BytesIO(data)
        ) as answer:
            body = await answer.read()
            return (
                answer.status,
                json.loads(body) if body else None,
                {str(name): text for name, text in answer.headers.items()},
            )


async def _server(access: Access, path: Path | None = None) -> AsyncIterator[Server]:
    sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    sock.bind(str(path) if path else ("127.0.0.1", 0))
    base = "http://anything" if path else f"http://127.0.0.1:{sock.getsockname()[1]}"
    connector = aiohttp.UnixConnector(str(path)) if path else None
    async with (
        serve(build_app(access, NO_ENGINE, OTHERS, doubled=DOUBLED), [sock], ServerLimits(idle=0.2)),
        aiohttp.ClientSession(connector=connector) as client,
    ):
        yield Server(client, base)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async for each in _server(Access(TOKENS, frozenset({"gateway.example"}), frozenset({"https://chat.example"}))):
        yield each


@pytest.fixture
async def without_tokens() -> AsyncIterator[Server]:
    async for each in _server(Access()):
        yield each


async def test_a_token_is_asked_for_everywhere_but_where_everybody_is_let_in(server: Server) -> None:
    for path in ("/who", "/api/v1/who", "/nothing"):
        for shown in (
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": "Basic root"},
            {"Authorization": "Bearer "},
        ):
            status, body, headers = await server.ask("GET", path, shown)
            assert (status, body["error"]["code"], headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer")
    for path in ("/open", "/api/v1/open"):
        assert (await server.ask("GET", path))[0] == 200
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await server.ask("GET", "/who", {"Authorization": f"{scheme} alices"}))[1] == {"user": "alice"}


async def test_a_token_is_for_what_its_scopes_say(server: Server) -> None:
    data, kind = b'{"text":"x"}', {"Content-Type": "application/json"}
    answers = [
        [
            (await server.ask("POST", path, {**kind, "Authorization": f"Bearer {token}"}, data))[0]
            for path in ("/who", "/agents")
        ]
        for token in ("root", "alices", "bobs")
    ]
    assert answers == [[200, 200], [200, 403], [403, 403]]


async def test_without_tokens_everybody_is_let_in(without_tokens: Server) -> None:
    assert (await without_tokens.ask("GET", "/who"))[:2] == (200, {"user": None})


async def test_another_servers_name_is_refused_but_on_a_unix_socket(server: Server, short_folder: Path) -> None:
    for path in ("/who", "/open", "/nothing"):
        status, body, _ = await server.ask("GET", path, {"Host": "evil.example", **AS_ROOT})
        assert (status, body["error"]["code"]) == (403, "forbidden")
    assert (await server.ask("GET", "/who", {"Host": "gateway.example", **AS_ROOT}))[0] == 200
    async for local in _server(Access(TOKENS), short_folder / "s"):
        assert (await local.ask("GET", "/who", AS_ROOT))[0] == 200


async def test_a_page_of_another_origin_can_have_no_effect_and_read_nothing(server: Server) -> None:
    foreign, kind = {"Origin": "http://evil.example", **AS_ROOT}, {"Content-Type": "application/json"}
    for method in ("POST", "DELETE", "OPTIONS", "PUT", "HEAD"):
        assert (await server.ask(method, "/who", {**foreign, **kind}, b'{"text":"x"}'))[0] == 403, method
    twice = [*AS_ROOT.items(), *kind.items(), ("Origin", server._base), ("Origin", "http://evil.example")]
    assert (await server.ask("POST", "/who", twice, b'{"text":"x"}'))[0] == 403
    status, _, headers = await server.ask("GET", "/who", foreign)
    assert status == 200
    assert "Access-Control-Allow-Origin" not in headers
    upgrade = {**foreign, "Upgrade": "websocket", "Connection": "Upgrade"}
    assert (await server.ask("GET", "/who", upgrade))[0] == 403


async def test_a_page_that_is_named_may_use_it(server: Server) -> None:
    page = {"Origin": "https://chat.example"}
    status, _, headers = await server.ask("OPTIONS", "/who", {**page, "Access-Control-Request-Method": "POST"})
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://chat.example")
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    status, _, headers = await server.ask("GET", "/who", {**page, **AS_ROOT})
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (200, "https://chat.example", "Origin")


async def test_every_answer_tells_a_browser_to_be_careful(server: Server) -> None:
    for path in ("/who", "/nothing", "/v1/fail"):
        _, _, headers = await server.ask("GET", path, AS_ROOT)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


async def test_an_error_has_the_form_of_its_part_of_the_interface(server: Server) -> None:
    status, body, _ = await server.ask("GET", "/nothing", AS_ROOT)
    assert (status, body["error"].keys(), body.keys()) == (404, {"code", "message"}, {"error"})
    status, body, _ = await server.ask("GET", "/agents/nothing", AS_ROOT)
    assert (status, body["detail"]) == (404, body["error"]["message"])
    status, body, _ = await server.ask("GET", "/v1/nothing", AS_ROOT)
    assert (status, body["error"].keys()) == (404, {"message", "type", "param", "code"})
    status, body, headers = await server.ask("PATCH", "/who", AS_ROOT)
    assert (status, body["error"]["code"], headers["Allow"]) == (405, "method_not_allowed", "GET, HEAD, POST")


async def test_what_goes_wrong_inside_is_not_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    status, body, _ = await server.ask("GET", "/v1/fail", AS_ROOT)
    assert (status, body["error"]["type"]) == (500, "server_error")
    assert "secret" not in json.dumps(body)
    status, body, _ = await server.ask("GET", "/v1/database", AS_ROOT)
    assert (status, body["error"]["code"]) == (503, "database_unavailable")
    assert "somewhere" not in json.dumps(body)
    assert not caplog.records


async def test_that_a_client_has_gone_is_no_defect(server: Server) -> None:
    with capture_logs() as logged:
        with pytest.raises(aiohttp.ClientPayloadError):
            await server.ask("GET", "/left", AS_ROOT)
        assert (await server.ask("GET", "/v1/fail", AS_ROOT))[0] == 500
    assert [(each["event"], each["path"]) for each in logged] == [("gateway_request_failed", "/v1/fail")]


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "invalid_json"),
        (b"\xff", "application/json", 400, "invalid_json"),
        (b'{"text":NaN}', "application/json", 400, "invalid_json"),
        (b'{"text":"\\ud800"}', "application/json", 400, "invalid_json"),
        (b'{"text":' + b"[" * 64 + b"]" * 64 + b"}", "application/json", 400, "invalid_json"),
        (b"[" * 100_000, "application/json", 400, "invalid_json"),
        (b'{"text":"x"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"text":"x"}', "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"text":"' + b"x" * LARGEST + b'"}', "application/json", 413, "too_large"),
        (b"", "application/json", 422, "invalid_request"),
        (b"[]", "application/json", 422, "invalid_request"),
        (b'{"text":1}', "application/json", 422, "invalid_request"),
        (b'{"text":"x","other":1}', "application/json", 422, "invalid_request"),
        (b'{"text":"\\u0000"}', "application/json", 422, "invalid_request"),
        (b'{"text":"x","number":1e400}', "application/json", 422, "invalid_request"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
async def test_a_body_that_cannot_be_used_is_refused(
    server: Server, data: bytes, kind: str, status: int, code: str
) -> None:
    found, body, _ = await server.ask("POST", "/who", {"Content-Type": kind, **AS_ROOT}, data)
    assert (found, body["error"]["code"]) == (status, code)


async def test_a_body_in_another_coding_is_refused(server: Server) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", **AS_ROOT}
    status, body, _ = await server.ask("POST", "/who", headers, b'{"text":"x"}')
    assert (status, body["error"]["code"]) == (415, "unsupported_media_type")


async def test_a_nul_character_is_in_no_name_and_no_parameter(server: Server) -> None:
    for path, expected in (("/nothing/%00", 404), ("/who%00", 404), ("/who?x=%00", 422), ("/v1/fail?%00", 422)):
        assert (await server.ask("GET", path, AS_ROOT))[0] == expected, path


async def test_a_wrong_field_is_named(server: Server) -> None:
    data = b'{"number":"seven","other":1}'
    _, body, _ = await server.ask("POST", "/who", {"Content-Type": "application/json", **AS_ROOT}, data)
    message = body["error"]["message"]
    assert (
        message == "text: missing; number: input should be a valid integer, found a text; other: there is no such field"
    )


async def test_a_field_that_is_misspelt_is_told_with_the_one_that_was_meant(server: Server) -> None:
    data = b'{"txet":"x","a":{"txet":1}}'
    _, body, _ = await server.ask("POST", "/who", {"Content-Type": "application/json", **AS_ROOT}, data)
    assert 'txet: there is no such field; did you mean "text"?' in body["error"]["message"]


async def test_a_field_with_an_unusable_value_is_named(server: Server) -> None:
    for body, expected in (
        (b'{"text":"a\\u0000"}', "text: found a text with a NUL character, expected text without"),
        (b'{"a":{"b":[1,["x"],{"c":"\\u0000"}]}}', "a.b.2.c: found a text with a NUL character, expected text without"),
        (b'{"a":[{}],"b\\u0000":1}', "b\\0: found a text with a NUL character, expected text without"),
        (b'{"a":[{}],"text":1e999}', "text: found a number that is too large"),
        (b'"\\u0000"', "found a text with a NUL character, expected text without"),
        (b'{"text":"x","number":5000}', "number: input should be less than or equal to 100"),
    ):
        status, answer, _ = await server.ask("POST", "/who", {"Content-Type": "application/json", **AS_ROOT}, body)
        assert (status, answer["error"]["message"]) == (422, expected)


async def test_a_body_of_the_largest_size_is_taken(server: Server) -> None:
    text = "x" * (LARGEST - 20)
    data = json.dumps({"text": text}).encode()
    status, body, _ = await server.ask("POST", "/who", {"Content-Type": "application/json", **AS_ROOT}, data)
    assert (status, len(body["text"])) == (200, len(text))


async def test_what_does_not_come_to_be_a_request_is_cut_off(server: Server) -> None:
    port = int(server._base.rpartition(":")[2])
    for half in (b"", b"GET /who HTTP/1.1\r\nHost: loc"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(half)
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()


async def test_an_expectation_that_is_no_text_is_refused(server: Server) -> None:
    port = int(server._base.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\nExpect: \xff\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.split(b" ")[1] == b"417"
    assert "expectation failed" in json.loads(body)["error"]["message"]


async def test_what_is_no_request_is_told_so_in_json(server: Server) -> None:
    port = int(server._base.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /who HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer root\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.split(b" ")[1] == b"400"
    assert b"Server: agentd-gateway" in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert json.loads(body)["error"]["code"] == "invalid_request"
    assert b"root" not in body


async def test_the_page_of_the_interface_is_made_of_what_is_here(server: Server) -> None:
    async with aiohttp.ClientSession() as client:
        for path, kind in (("", "text/html"), ("/start.js", "text/javascript"), ("/swagger-ui.css", "text/css"),
                           ("/swagger-ui-bundle.js", "text/javascript")):  # fmt: skip
            async with client.get(f"{server._base}/docs{path}", headers=AS_ROOT) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                text = await answer.text()
                if not path:
                    assert "'self'" in answer.headers["Content-Security-Policy"]
                    assert "http" not in text
        assert (await server.ask("GET", "/docs/other.js", AS_ROOT))[0] == 404
        assert (await server.ask("GET", "/docs"))[0] == 401
        status, body, _ = await server.ask("GET", "/openapi.json", AS_ROOT)
        assert (status, body["openapi"]) == (200, "3.1.0")
