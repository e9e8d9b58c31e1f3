"""What agents printed and show, over the API: which run, which part, how, and how long."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agentd.api import log
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.run_folder import RunFolder
from tests.api.conftest import Serving
from tests.api.memory_source import RUNNING, MemorySource, ask, connected
from tests.support.transcripts import keep
from tests.support.waiting import wait_for

NAME = "reviewer-0"
LOG = f"/v1/agents/{NAME}/log"


@pytest.fixture
def run(transcripts: TranscriptFiles) -> RunFolder:
    """The second run of three; it printed 30 bytes in two parts."""
    keep_run(transcripts, b"the first\r\n")
    folder = keep_run(transcripts, b"one\r\n\x1b[31mtwo\x1b[0m\r\n", b"three\r\nfour")
    keep_run(transcripts, b"the third\r\n")
    return folder


def keep_run(transcripts: TranscriptFiles, *parts: bytes, end: str | None = "2026-01-31T10:00:00.000Z") -> RunFolder:
    return keep(transcripts, NAME, *parts, end=end)


@pytest.mark.parametrize(
    ("query", "offset", "body"),
    [
        ("raw=1&run=2", 0, b"one\r\n\x1b[31mtwo\x1b[0m\r\nthree\r\nfour"),
        ("raw=true&run=previous", 0, b"one\r\n\x1b[31mtwo\x1b[0m\r\nthree\r\nfour"),
        ("raw=1", 0, b"the third\r\n"),
        ("raw=1&run=2&tail=1", 26, b"four"),
        ("raw=1&run=2&tail=2", 19, b"three\r\nfour"),
        ("raw=1&run=2&tail=0", 30, b""),
        ("raw=1&run=2&offset=17&limit=5", 17, b"\r\nthr"),
        ("raw=1&run=2&offset=28&limit=99", 28, b"ur"),
        ("raw=1&run=2&offset=999", 30, b""),
        ("raw=1&run=2&limit=3", 0, b"one"),
        ("run=2", 0, b"one\ntwo\nthree\nfour\n"),
        ("run=2&tail=2", 0, b"three\nfour\n"),
        ("run=2&tail=0", 0, b""),
        ("run=2&follow=1", 0, b"one\ntwo\nthree\nfour\n"),
        ("run=2&follow=1&tail=1", 0, b"three\nfour\n"),
        ("raw=1&run=2&follow=1&offset=26", 26, b"four"),
    ],
)
@pytest.mark.usefixtures("run")
async def test_what_is_asked_for_is_answered(api: Path, query: str, offset: int, body: bytes) -> None:
    answer = await ask(api, "GET", f"{LOG}?{query}", "Accept-Encoding: identity")
    assert answer.status == 200
    assert answer.body == body
    assert int(answer.headers["agentd-offset"]) == offset
    assert answer.headers["agentd-end"] == ("11" if query == "raw=1" else "30")


@pytest.mark.parametrize(
    ("header", "status", "content_range", "body"),
    [
        ("bytes=0-2", 206, "bytes 0-2/30", b"one"),
        ("bytes=26-", 206, "bytes 26-29/30", b"four"),
        ("bytes=-4", 206, "bytes 26-29/30", b"four"),
        ("bytes=28-1000", 206, "bytes 28-29/30", b"ur"),
        ("bytes=30-", 416, "bytes */30", None),
        ("bytes=5-2", 200, None, None),
        ("bytes=0-1,3-4", 200, None, None),
        ("lines=1-2", 200, None, None),
    ],
)
@pytest.mark.usefixtures("run")
async def test_ranges_are_as_http_has_them(
    api: Path, header: str, status: int, content_range: str | None, body: bytes | None
) -> None:
    answer = await ask(api, "GET", f"{LOG}?raw=1&run=2", f"Range: {header}")
    assert (answer.status, answer.headers.get("content-range")) == (status, content_range)
    if body is not None:
        assert answer.body == body


async def test_what_is_not_kept_any_more_is_skipped_and_its_range_refused(
    api: Path, transcripts: TranscriptFiles
) -> None:
    folder = keep_run(transcripts, b"0123456789", b"abcdefghij")
    account, parts = transcripts.snapshot(folder)
    folder.drop(account, parts[:1])
    answer = await ask(api, "GET", f"{LOG}?raw=1&offset=3")
    assert (answer.headers["agentd-offset"], answer.body) == ("10", b"abcdefghij")
    assert (await ask(api, "GET", f"{LOG}?raw=1", "Range: bytes=3-5")).status == 416
    answer = await ask(api, "GET", f"{LOG}?raw=1", "Range: bytes=12-13")
    assert (answer.status, answer.headers["content-range"]) == (206, "bytes 12-13/20")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("run=x", "the number of a run, or previous"),
        ("run=-1", "the number of a run, or previous"),
        ("tail=-1", "tail: expected a whole number"),
        ("tail=9999999999999999", "tail: expected a whole number"),
        ("offset=1", "add raw=1"),
        ("raw=1&tail=1&offset=1", "leave one of them out"),
        ("raw=yes", "raw: expected 1 or 0"),
        ("follow=", "follow: expected 1 or 0"),
        ("lines=3", "there is no parameter 'lines'"),
    ],
)
async def test_a_bad_parameter_is_a_400_that_says_why(api: Path, query: str, reason: str) -> None:
    answer = await ask(api, "GET", f"{LOG}?{query}")
    assert answer.status == 400
    assert reason in answer.error


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/v1/agents/nobody/log", "agent not found"),
        ("/v1/agents/nobody/runs", "agent not found"),
        ("/v1/agents/nobody/screen", "agent not found"),
        ("/v1/agents/..%2F..%2Fstate/log", "agent not found"),
        ("/v1/agents/%2E%2E/log", None),
        (f"{LOG}?run=9", "run 9 of reviewer-0 is not kept; there are 1 to 3"),
        ("/v1/agents/W%C3%A4chter_%CE%A9.2/log", "agent not found"),
    ],
)
@pytest.mark.usefixtures("run")
async def test_what_is_not_there_is_a_404(api: Path, target: str, reason: str | None) -> None:
    answer = await ask(api, "GET", target)
    assert answer.status == 404
    assert reason is None or answer.error == reason


async def test_an_agent_that_has_not_run_has_no_log_and_no_runs(api: Path) -> None:
    assert (await ask(api, "GET", LOG)).error == "no run of reviewer-0 was recorded"
    assert (await ask(api, "GET", f"/v1/agents/{NAME}/runs")).json == []


@pytest.mark.usefixtures("run")
async def test_what_is_kept_of_an_agent_that_is_declared_no_more_is_still_read(api: Path, source: MemorySource) -> None:
    source.statuses.clear()
    assert (await ask(api, "GET", LOG)).body == b"the third\n"
    runs = json.loads((await ask(api, "GET", f"/v1/agents/{NAME}/runs")).body)
    assert [(run["run"], run["end_byte"]) for run in runs] == [(1, 11), (2, 30), (3, 11)]
    assert (runs[0]["argv"], runs[0]["exit_code"]) == (["true"], 0)


async def test_a_follower_gets_what_is_printed_until_the_run_ends(api: Path, transcripts: TranscriptFiles) -> None:
    folder = keep_run(transcripts, b"one\r\n", end=None)
    part = folder.output / "000000"
    async with (
        asyncio.timeout(30),
        connected(api) as (raw, raw_out),
        connected(api) as (text, text_out),
        connected(api) as (late, late_out),
    ):
        raw_out.write(f"GET {LOG}?raw=1&follow=1 HTTP/1.0\r\n\r\n".encode())
        text_out.write(f"GET {LOG}?follow=1 HTTP/1.0\r\n\r\n".encode())
        late_out.write(f"GET {LOG}?raw=1&follow=1&offset=5 HTTP/1.0\r\n\r\n".encode())
        await raw.readuntil(b"\r\n\r\none\r\n")
        await text.readuntil(b"\r\n\r\none\n")
        with part.open("ab") as file:
            file.write(b"t\x1b[1mw\x1b[0mo\r\nthr")
        await raw.readuntil(b"thr")
        assert await text.readuntil(b"\n") == b"two\n"
        (folder.output / "000001").write_bytes(b"ee\x1b")
        # What may be the beginning of the launcher's mark waits for what comes next.
        await raw.readuntil(b"ee")
        account = folder.read()
        folder.write(replace(account, end="2026-01-31T10:00:00.000Z", bytes=part.stat().st_size + 3))
        assert (await raw.read(), await text.read()) == (b"\x1b", b"three\n")
        assert (await late.read()).endswith(b"\r\n\r\nt\x1b[1mw\x1b[0mo\r\nthree\x1b")


async def test_a_follower_whose_run_is_removed_is_at_its_end(api: Path, transcripts: TranscriptFiles) -> None:
    folder = keep_run(transcripts, b"one", end=None)
    async with asyncio.timeout(30), connected(api) as (reader, writer):
        writer.write(f"GET {LOG}?raw=1&follow=1 HTTP/1.0\r\n\r\n".encode())
        await reader.readuntil(b"one")
        folder.remove()
        assert await reader.read() == b""


async def test_a_slow_follower_costs_little_and_is_cut_off(
    serving: Serving, socket_path: Path, transcripts: TranscriptFiles
) -> None:
    keep_run(transcripts, b"x" * 4_000_000, end=None)
    with capture_logs() as logs, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        async with asyncio.timeout(30), serving(answer=0.1):
            sock.connect(str(socket_path))
            sock.sendall(f"GET {LOG}?raw=1&follow=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert (await ask(socket_path, "GET", "/v1/health")).status == 200
            received = 0
            await asyncio.to_thread(wait_for, lambda: [line["event"] for line in logs] == ["api_stream_not_read"])
            while data := await asyncio.to_thread(sock.recv, 65536):
                received += len(data)
    assert received < 1_000_000


async def test_only_the_end_of_a_long_run_is_made_readable(
    api: Path, transcripts: TranscriptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Counting lines for coverage takes several times the CPU.
    monkeypatch.setattr(log, "_RENDER_LIMIT", 60.0)
    keep_run(transcripts, b"".join(b"line %d\r\n" % number for number in range(100_000)))
    answer = await ask(api, "GET", f"{LOG}?tail=3")
    assert answer.body == b"line 99997\nline 99998\nline 99999\n"
    whole = await ask(api, "GET", LOG)
    assert len(whole.body) < 300_000
    assert int(whole.headers["agentd-offset"]) > 0


async def test_a_screen_is_text_styled_text_or_json(api: Path, source: MemorySource) -> None:
    screen = f"/v1/agents/{NAME.upper()}/screen"
    assert (await ask(api, "GET", screen)).body == b"\nred\n"
    assert (await ask(api, "GET", f"{screen}?format=ansi")).body == b"\n\x1b[31mred\x1b[39m\n"
    assert json.loads((await ask(api, "GET", f"{screen}?format=json")).body) == {
        "name": NAME,
        "session": NAME,
        "width": 80,
        "height": 24,
        "cursor_x": 3,
        "cursor_y": 0,
        "cursor_visible": True,
        "lines": ["", "red"],
    }
    assert (await ask(api, "GET", f"{screen}?format=html")).status == 400
    assert (await ask(api, "GET", f"{screen}?x=1")).status == 400
    source.statuses[:] = [replace(RUNNING, running=False, state="disabled")]
    assert "it is disabled" in (await ask(api, "GET", screen)).error
