"""``GET /v1/events``: as an array, and as a stream that is taken up where it broke off."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agentd.api import events as module
from agentd.model.events import Event, EventKind
from agentd.recording.journal.journal import Journal
from tests.api.conftest import Serving
from tests.api.memory_source import Answer, ask, connected, request
from tests.recording.support import event, journal_wrote
from tests.support.waiting import wait_for

SENT = "Accept: text/event-stream"


def numbers(answer: Answer) -> list[int]:
    """The numbers of the events in a JSON array."""
    assert answer.status == 200
    assert isinstance(answer.json, list)
    return [each["seq"] for each in answer.json]


async def block(reader: asyncio.StreamReader) -> dict[str, str]:
    """One block of a stream; the framing of HTTP/1.0 leaves it as it is."""
    text = (await reader.readuntil(b"\n\n")).decode()
    return dict(line.partition(": ")[::2] for line in text.splitlines() if line)


def follow(query: str = "", *headers: str) -> bytes:
    return request("GET", f"/v1/events?follow=1{query}", *headers).replace(b"HTTP/1.1", b"HTTP/1.0", 1)


async def add(journal: Journal, *events: Event) -> None:
    for each in events:
        journal.add(each)
    await journal_wrote(journal)


async def test_everything_that_is_kept_is_one_array(api: Path) -> None:
    answer = await ask(api, "GET", "/v1/events")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert isinstance(answer.json, list)
    assert [{**each, "time": "?"} for each in answer.json] == [
        {"seq": 1, "time": "?", "agent": None, "kind": "daemon_started", "reason": None, "data": {"pid": 4242}},
        {
            "seq": 2,
            "time": "?",
            "agent": "reviewer-0",
            "kind": "exited",
            "reason": "ended",
            "data": {"state": "failed", "exit_code": 3},
        },
    ]


async def test_a_query_says_which_and_how_many(api: Path, journal: Journal) -> None:
    await add(journal, *(event(n, "ab"[n % 2], list(EventKind)[n % 3]) for n in range(3, 13)))
    for query, expected in {
        "since=10": [11, 12],
        "since=2026-01-31T09:00:00Z": list(range(1, 13)),
        "since=2026-01-31T10:00:00%2B01:00": list(range(1, 13)),
        "since=2100-01-01T00:00:00.5Z": [],
        "since=99999": [],
        "tail=3": [10, 11, 12],
        "tail=0": [],
        "tail=2&agent=A": [10, 12],
        "limit=2": [1, 2],
        "limit=0": [],
        "since=4&limit=3": [5, 6, 7],
        "agent=a&agent=REVIEWER-0&limit=3": [2, 4, 6],
        "kind=exited": [2],
        f"kind={next(iter(EventKind))}&kind=exited&agent=b": [3, 9],
        "agent=nobody": [],
        "follow=0&tail=1": [12],
    }.items():
        assert numbers(await ask(api, "GET", f"/v1/events?{query}")) == expected, query


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2026-01-31", "since=2026-01-31T09:00:00", "since=-1", "tail=x", "limit=-1",
              "follow=please", "since=" + "9" * 30],
)  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused_in_words(api: Path, query: str) -> None:
    answer = await ask(api, "GET", f"/v1/events?{query}")
    assert answer.status == 400
    assert ": expected " in answer.error


async def test_a_journal_that_cannot_be_read_is_said(api: Path, journal: Journal) -> None:
    for name in ("events.db", "events.db-wal"):
        (journal.folder / name).write_bytes(b"no database " * 9999)
    for query in ("since=2026-01-31T09:00:00Z", "tail=5"):
        answer = await ask(api, "GET", f"/v1/events?{query}")
        assert answer.status == 503
        assert answer.error.startswith("the journal cannot be read: ")
        assert str(journal.folder) in answer.error
    # What is in memory is told all the same.
    assert numbers(await ask(api, "GET", "/v1/events?since=1")) == [2]


async def test_a_stream_has_number_kind_and_event_and_ends_after_the_last_one_unless_it_follows(api: Path) -> None:
    answer = await ask(api, "GET", "/v1/events?since=1", SENT)
    assert answer.headers["content-type"] == "text/event-stream"
    first, second, end = answer.body.decode().split("\n\n")
    assert first == "retry: 1000\nid: 1"
    *lines, data = second.split("\n")
    assert lines == ["id: 2", "event: exited"]
    assert json.loads(data.removeprefix("data: "))["data"] == {"state": "failed", "exit_code": 3}
    assert end == ""


async def test_who_follows_gets_what_happens_from_now_on(api: Path, journal: Journal) -> None:
    async with asyncio.timeout(30), connected(api) as (reader, writer):
        writer.write(follow("&agent=B"))
        await reader.readuntil(b"\r\n\r\n")
        assert await block(reader) == {"retry": "1000", "id": "2"}
        await add(journal, event(3, "a"), event(4, "b"))
        assert (await block(reader))["id"] == "4"
        await add(journal, event(5, "b"))
        assert (await block(reader))["id"] == "5"
        await journal.close()
        assert await reader.read() == b""


async def test_a_lost_connection_is_taken_up_where_it_broke_off(api: Path, journal: Journal) -> None:
    await add(journal, *(event(n) for n in range(3, 8)))
    for headers, query in ((["Last-Event-ID: 5"], "&since=1"), (["Last-Event-ID: 5"], "&tail=1"), ([], "&since=5")):
        async with asyncio.timeout(30), connected(api) as (reader, writer):
            writer.write(follow(query, *headers))
            await reader.readuntil(b"\r\n\r\n")
            assert [(await block(reader))["id"] for _ in range(3)] == ["5", "6", "7"]


async def test_silence_is_broken_so_that_each_side_knows_of_the_other(
    api: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    async with asyncio.timeout(30), connected(api) as (reader, writer):
        writer.write(follow())
        await reader.readuntil(b"\r\n\r\n")
        await block(reader)
        assert [await reader.readuntil(b"\n\n") for _ in range(3)] == [b": nothing happened\n\n"] * 3


async def test_head_is_answered_at_once(api: Path, journal: Journal) -> None:
    for query in ("", "?follow=1"):
        answer = await ask(api, "HEAD", f"/v1/events{query}")
        assert (answer.status, answer.body) == (200, b"")
    assert journal.readers == 0


async def test_who_reads_nothing_is_cut_off_and_costs_no_memory_and_others_go_on(
    serving: Serving, socket_path: Path, journal: Journal
) -> None:
    with capture_logs() as logs, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
        async with asyncio.timeout(30), serving(answer=1.0), connected(socket_path) as (reader, writer):
            stuck.connect(str(socket_path))
            stuck.sendall(follow("&since=0"))
            writer.write(follow("&since=0"))
            await reader.readuntil(b"\r\n\r\n")
            await block(reader)

            async def read() -> list[int]:
                return [int((await block(reader))["id"]) for _ in range(2000)]

            reading = asyncio.create_task(read())
            for number in range(3, 2003):
                journal.add(event(number, blob="x" * 500))
                if number % 100 == 0:
                    await journal_wrote(journal)
            assert await reading == list(range(1, 2001))
            assert journal.buffer.head - journal.buffer.floor <= 2 * 1024 + 100
            await asyncio.to_thread(
                wait_for, lambda: journal.readers == 1, what="the one that reads nothing is cut off"
            )
    assert [(entry["event"], entry["path"]) for entry in logs] == [("api_stream_not_read", "/v1/events")]


async def test_who_asks_and_goes_away_at_once_is_no_failure(api: Path, journal: Journal) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hasty:
                hasty.connect(str(api))
                hasty.sendall(follow("&since=0"))
        assert (await ask(api, "GET", "/v1/health")).status == 200
        await asyncio.to_thread(wait_for, lambda: journal.readers == 0, what="nobody follows")
    assert logs == []
