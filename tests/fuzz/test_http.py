"""Requests that are none, and clients that keep the API busy: it answers the others as before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.crowd import HALF_A_BODY, HALF_A_HEADER, MORE_THAN_IS_READ, bare_server, clients, latency, room_for
from tests.fuzz.effort import DEEP, examples
from tests.fuzz.mutations import mutations
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.printed import harmless

ROOT = Path(__file__).parents[2]
SCHEMATHESIS = ROOT / ".cache/schemathesis/bin/schemathesis"

_SEEDS = [
    b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/agents/a HTTP/1.0\r\n\r\n",
    b"HEAD /v1/agents HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /v1/plan HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/agents HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /v1/agents/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    b"GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
]
_TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%", b"%00", b"%2e%2e%2f", b"/../", b"//", b"?", b"#", b"\xff"),
    *(b"http://[", b"http://a:99999/", b"*", b"CONNECT a:1 ", b"HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffffff\r\n", b"Host: \x1b[2J\r\n", b"Range: bytes=0-\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Accept-Encoding: gzip\r\n", b"If-Match: *\r\n", b"x" * 9000, b"x: y\r\n" * 200),
]


@pytest.fixture(scope="module")
def api(session_folder: Path, _numbers: Iterator[int]) -> Iterator[Daemon]:
    """A daemon for all tests here, which is held to a clean end and a log without tracebacks."""
    folder = session_folder / f"http-{next(_numbers)}"
    folder.mkdir()
    daemon = Daemon(folder)
    try:
        daemon.write_jcard(jcard({"name": "a", "command": ["sleep", "600"]}, {"name": "B-2", "command": ["nothing"]}))
        daemon.start()
        daemon.wait_state("a", "running")
        yield daemon
        assert "api_request_failed" not in daemon.log_text()
    finally:
        problems = daemon.close()
    assert not problems, "\n".join(problems)


def said(path: Path, request: bytes, patience: float) -> bytes:
    """Send bytes, and read until the daemon hangs up or says nothing for that many seconds."""
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        client.settimeout(30)
        # It may hang up in the middle of what is none of its business.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            client.sendall(request)
            client.settimeout(patience)
            while part := client.recv(65536):
                answer += part
    return bytes(answer)


@examples(30)
@given(request=mutations(_SEEDS, _TOKENS))
def test_any_bytes_are_answered_as_http_or_hung_up_on(api: Daemon, request: bytes) -> None:
    answer = said(api.api_socket, request, patience=0.02)
    head, _, body = answer.partition(b"\r\n\r\n")
    if answer:
        version, status, _ = head.split(b" ", 2)
        # A request line without a version is one of HTTP/0.9, and answered so.
        assert version in (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/1.1"), answer
        assert status in (b"100", b"200", b"400", b"404", b"405", b"413", b"417"), answer
        assert all(32 <= byte < 127 or byte in b"\r\n" for byte in head), head
    # After a HEAD comes the next answer, and no body.
    if answer[8:10] == b" 4" and body.startswith(b"{"):
        error = json.JSONDecoder().raw_decode(body.decode())[0]["error"]
        assert harmless(error)


@examples(40)
@given(
    name=st.one_of(st.binary(max_size=30), st.sampled_from([b"../../etc/passwd", b"..", b".", b"", b"a/../a", b"a%00"]))
)
def test_a_name_in_the_path_is_that_of_an_agent_or_of_nothing(api: Daemon, name: bytes) -> None:
    quoted = b"".join(b"%%%02x" % byte for byte in name)
    answer = said(api.api_socket, b"GET /v1/agents/" + quoted + b" HTTP/1.0\r\n\r\n", patience=20)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    document = json.loads(body)
    if status == 200:
        assert isinstance(document, list) == (not name)
        assert not name or document["name"].casefold() == name.decode().casefold()
    else:
        assert status in (400, 404)
        assert list(document) == ["error"]
        assert harmless(document["error"])


CROWD = 10_000 if DEEP else 1_500
"""More than the daemon takes at once (512)."""
SLOWEST, TIMES = 500.0, 20
"""Nobody waits longer than this many milliseconds, or with as large a crowd than so many times as long as the longest
wait for a server that does nothing else: whoever comes last waits until those before have been answered."""


@pytest.mark.crowd
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("says", "number"),
    [(b"", CROWD), (HALF_A_HEADER, CROWD), (HALF_A_BODY, CROWD), (MORE_THAN_IS_READ, 300)],
    ids=["idle", "half a header", "half a body", "slow readers"],
)
def test_a_crowd_of_clients_keeps_nobody_waiting(
    api: Daemon, short_folder: Path, says: bytes, number: int, record_property: Callable[[str, object], None]
) -> None:
    if not room_for(number + 500):
        pytest.skip(f"needs {number + 500} open files: ulimit -n")
    body = api.request("GET", "/v1/health").body
    with bare_server(short_folder / "bare.sock", body) as bare, clients(bare, number, says):
        beside = latency(bare, 200)
    before = latency(api.api_socket, 50)
    memory = psutil.Process(api.pid).memory_info().rss
    with clients(api.api_socket, number, says):
        during = latency(api.api_socket, 200)
        files = psutil.Process(api.pid).num_fds()
        grown = psutil.Process(api.pid).memory_info().rss - memory
    figures = f"{number} connections: GET before {before}; during {during}; bare {beside}; +{grown / 1e6:.1f} MB"
    record_property("figures", figures)
    print(figures)  # noqa: T201 (shown with -s, and by make fuzz)
    assert files < 600
    assert during.worst < max(SLOWEST, TIMES * beside.worst), figures
    assert grown < 64e6, figures
    api.wait_for(lambda: psutil.Process(api.pid).num_fds() < 100, what="the daemon has let go of the connections")


def test_clients_that_come_and_go_leave_nothing_behind(api: Daemon) -> None:
    process = psutil.Process(api.pid)
    api.health()
    api.wait_for(lambda: process.num_fds() < 100)
    files = process.num_fds()
    for _ in range(20):
        with clients(api.api_socket, 50, HALF_A_HEADER):
            pass
    api.wait_for(lambda: process.num_fds() <= files + 1, what="no descriptor stays open")


class _Relay:
    """A port on loopback in front of the socket, for a client that knows no Unix sockets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._over = asyncio.Event()
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, out = await asyncio.open_unix_connection(self._path)
        await asyncio.gather(self._copy(reader, out), self._copy(back, writer))

    async def _copy(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await source.read(65536):
                to.write(part)
                await to.drain()
        to.close()

    def __enter__(self) -> int:
        self._thread.start()
        assert self._ready.wait(10)
        return self.port

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)


def without_streams(document: object) -> object:
    """Leave the parameter out with which an answer never ends."""
    if isinstance(document, list):
        return [without_streams(each) for each in document if not is_follow(each)]
    if isinstance(document, dict):
        return {key: without_streams(value) for key, value in document.items()}
    return document


def is_follow(parameter: object) -> bool:
    return isinstance(parameter, dict) and parameter.get("name") == "follow" and parameter.get("in") == "query"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not DEEP, reason="takes a minute: make fuzz")
def test_schemathesis_finds_the_answers_as_the_document_says(api: Daemon, tmp_path: Path) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is not there: tests/fuzz/install-schemathesis fetches it")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(without_streams(api.get("/v1/openapi.json"))))
    with _Relay(api.api_socket) as port:
        done = subprocess.run(
            [SCHEMATHESIS, "run", document, "--url", f"http://127.0.0.1:{port}", "--max-examples", "300", "--no-color",
             "--max-time", "240", "--generation-database", "none", "--report-dir", tmp_path, "--request-timeout", "10",
             # Which parameters go together, and what is a time, no schema of a single parameter says.
             "--exclude-checks", "positive_data_acceptance"],
            capture_output=True, text=True, cwd=tmp_path, timeout=500, check=False,
            env={**os.environ, "HOME": str(tmp_path)}, start_new_session=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    print(done.stdout[-1500:])  # noqa: T201 (shown with -s, and by make fuzz)
