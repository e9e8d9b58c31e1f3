"""The events of a fleet, followed: two agentds behind the front, which come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentd.fleet.following import Position, last
from agentd.fleet.protocol import HostState, Placement
from agentd.model.events import Event, EventKind
from tests.cli.support import RUNNING, Client, MemorySource, answering
from tests.fleet.test_front import Backend, fronting, of
from tests.support.transcripts import BEGUN, files_in
from tests.support.waiting import until

LONG = 30.0


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.fleet.following._LOOK_AGAIN", 0.05)
    monkeypatch.setattr("agentd.fleet.front._RECENT", 0.0)


@pytest.fixture
def backend(short_folder: Path) -> Backend:
    for name in ("h1", "h2"):
        (short_folder / name).mkdir()
    return Backend({name: short_folder / name / "agentd.sock" for name in ("h1", "h2")})


@pytest.fixture
def socket(short_folder: Path) -> Path:
    return short_folder / "agentd.sock.fleet"


def happened(agent: str, reason: str) -> Event:
    return Event(EventKind.EXITED, agent, reason, {})


class Reader:
    """Reads the events of a stream, and remembers the id of the last block."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response, self.last = response, ""

    async def block(self) -> dict[str, Any] | None:
        async with asyncio.timeout(LONG):
            while True:
                text = (await self.response.content.readuntil(b"\n\n")).decode()
                found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
                if "id" in found:
                    self.last = found["id"]
                    return json.loads(found["data"]) if "data" in found else None

    async def told(self) -> tuple[str, str]:
        found = await self.block()
        assert found is not None
        return found["host"], found["reason"]


@asynccontextmanager
async def following(client: aiohttp.ClientSession, query: str = "", known: str = "") -> AsyncIterator[Reader]:
    headers = {"Last-Event-ID": known} if known else {}
    async with client.get(f"/v1/events?follow=1{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        reader = Reader(response)
        assert await reader.block() is None, "it begins with an id alone"
        yield reader


async def kept(client: aiohttp.ClientSession, count: int) -> None:
    async with asyncio.timeout(LONG):
        while len(await (await client.get("/v1/events")).json()) < count:  # noqa: ASYNC110 (events of another thread)
            await asyncio.sleep(0.01)


async def test_the_events_of_all_hosts_are_followed_and_none_is_missed_or_told_twice(
    backend: Backend, socket: Path
) -> None:
    with (
        answering(MemorySource(), backend.sockets["h1"]) as one,
        answering(MemorySource(), backend.sockets["h2"]) as two,
    ):
        async with fronting(backend, socket) as client:
            for number, tell in enumerate((one, two, one)):
                tell(happened("a", str(number)))
                await kept(client, number + 1)
            async with following(client, "&tail=2") as reader:
                assert [await reader.told() for _ in range(2)] == [("h2", "1"), ("h1", "2")]
                two(happened("a", "3"))
                assert await reader.told() == ("h2", "3")
                known = reader.last
            one(happened("a", "4"))
            await kept(client, 5)
            async with following(client, "&tail=2", known) as reader:
                assert await reader.told() == ("h1", "4")
                two(happened("a", "5"))
                assert await reader.told() == ("h2", "5")
            async with following(client, "&kind=started&tail=9") as reader:
                one(happened("a", "6"))
                one(Event(EventKind.STARTED, "a", "7", {}))
                assert await reader.told() == ("h1", "7")
            assert (await client.get("/v1/events?follow=1", headers={"Last-Event-ID": "12"})).status == 400
    await until(lambda: not backend.under_way)


async def test_a_host_that_comes_later_is_heard_from_the_moment_on_that_somebody_began_to_follow(
    backend: Backend, socket: Path
) -> None:
    backend.views[1] = replace(backend.views[1], state=HostState.LOST)
    with (
        answering(MemorySource(), backend.sockets["h1"]) as one,
        answering(MemorySource(), backend.sockets["h2"]) as two,
    ):
        async with fronting(backend, socket) as client, following(client) as reader:
            two(happened("a", "while it was lost"))
            one(happened("a", "0"))
            assert await reader.told() == ("h1", "0")
            backend.views[1] = replace(backend.views[1], state=HostState.READY)
            assert await reader.told() == ("h2", "while it was lost")


async def test_an_agent_is_followed_to_its_next_host_and_no_other_host_is_asked(backend: Backend, socket: Path) -> None:
    backend.agents = [of("A", "h1")]
    with (
        answering(MemorySource(), backend.sockets["h1"]) as one,
        answering(MemorySource(), backend.sockets["h2"]) as two,
    ):
        async with fronting(backend, socket) as client, following(client, "&agent=a") as reader:
            one(happened("A", "0"))
            assert await reader.told() == ("h1", "0")
            assert backend.under_way == 1
            backend.agents = [of("A", "h2")]
            two(happened("b", "not this one"))
            two(happened("A", "1"))
            assert await reader.told() == ("h2", "1")


async def test_an_agentd_that_is_away_is_heard_again_once_it_is_back(backend: Backend, socket: Path) -> None:
    backend.agents = [of("A", "h1")]
    source = MemorySource()
    async with fronting(backend, socket) as client:
        with answering(source, backend.sockets["h1"]) as tell:
            stream = following(client, "&agent=A")
            reader = await stream.__aenter__()
            tell(happened("A", "0"))
            assert await reader.told() == ("h1", "0")
        with answering(source, backend.sockets["h1"]) as tell:
            tell(happened("A", "1"))
            assert await reader.told() == ("h1", "1")
            await stream.__aexit__(None, None, None)


async def test_agentctl_follows_a_fleet(backend: Backend, short_folder: Path) -> None:
    client = Client(short_folder)
    with (
        answering(MemorySource(), backend.sockets["h1"]) as one,
        answering(MemorySource(), backend.sockets["h2"]) as two,
    ):
        async with fronting(backend, short_folder / "api.sock.fleet") as session:
            one(happened("a", "first"))
            await kept(session, 1)
            process = client.start("events", "--fleet", "-f")
            try:
                assert process.stdout is not None
                read = process.stdout.readline
                assert (await asyncio.wait_for(asyncio.to_thread(read), LONG)).split("\t")[2:] == [
                    "a", "exited", "first", "host=h1\n",
                ]  # fmt: skip
                two(happened("b", "second"))
                assert (await asyncio.wait_for(asyncio.to_thread(read), LONG)).split("\t")[2:] == [
                    "b", "exited", "second", "host=h2\n",
                ]  # fmt: skip
            finally:
                process.terminate()
                await asyncio.to_thread(process.communicate, timeout=20)


async def test_wait_waits_for_an_agent_that_has_no_host_yet(backend: Backend, short_folder: Path) -> None:
    client = Client(short_folder)
    backend.agents = [of("later", None, Placement.PENDING)]
    async with fronting(backend, short_folder / "api.sock.fleet"):
        with answering(MemorySource(), backend.sockets["h2"]) as two:
            waiting = client.start("wait", "--fleet", "later", "--for", "exited")
            # Nobody else asks: the first time it looks at the agents, and then it follows.
            await until(lambda: backend.listed >= 2)
            backend.agents = [of("later", "h2")]
            two(Event(EventKind.EXITED, "later", "done", {"state": "exited"}))
            out, err = await asyncio.to_thread(waiting.communicate, timeout=LONG)
            assert (waiting.returncode, out) == (0, "later was exited\n"), err
            backend.agents = [of("later", None, Placement.PENDING)]
            over = await asyncio.to_thread(client, "wait", "--fleet", "later", "--for", "exited", "--timeout", "0.1s")
            assert (over.status, over.err) == (
                1, "agentctl: later is on no host, and the time is over: see agentctl status --fleet later\n",
            )  # fmt: skip


async def test_the_output_of_an_agent_is_followed_to_its_next_host(backend: Backend, short_folder: Path) -> None:
    client = Client(short_folder)
    backend.agents = [of("A", "h1")]
    for name, said in (("h1", b"on one\r\n"), ("h2", b"on two\r\n")):
        # Run 1 on each host, which is not the same run.
        begun = replace(BEGUN, agent="A", run_id=name, start=f"2026-01-31T09:00:0{name[-1]}.000Z")
        folder, metadata = files_in(backend.sockets[name].parent / "state").create(begun)
        (folder.output / "000000").write_bytes(said)
        folder.write(replace(metadata, end="2026-01-31T10:00:00.000Z", bytes=len(said), exit_code=0))
    one, two = (MemorySource([replace(RUNNING, name="A")]), MemorySource([replace(RUNNING, name="A", state="exited")]))
    with answering(one, backend.sockets["h1"]), answering(two, backend.sockets["h2"]):
        async with fronting(backend, short_folder / "api.sock.fleet"):
            following = client.start("logs", "--fleet", "-f", "a")
            try:
                assert following.stdout is not None
                assert await asyncio.to_thread(following.stdout.readline) == "on one\n"
                backend.agents = [of("A", None, Placement.PENDING)]
                backend.agents = [of("A", "h2")]
                out, err = await asyncio.to_thread(following.communicate, timeout=LONG)
            except BaseException:
                following.kill()
                raise
    assert (following.returncode, out) == (0, "on two\n"), err


def test_a_position_is_written_and_read() -> None:
    position = Position("2026-01-31T09:00:00.000Z", {"h1": 3}).after("h-2.a", 5)
    assert Position.of(str(position)) == position
    assert position.start("h1") == {"since": "3"}
    assert position.start("h3") == {"since": "2026-01-31T09:00:00.000Z"}
    for wrong in ("", "h1=3", "*=x,h1", "*=x,h1=y"):
        with pytest.raises((KeyError, ValueError)):
            Position.of(wrong)


def test_the_last_of_a_list_may_be_none() -> None:
    events: list[dict[str, Any]] = [{"seq": 1}, {"seq": 2}]
    assert [last(events, count) for count in (None, 0, 1, 9)] == [events, [], events[1:], events]
