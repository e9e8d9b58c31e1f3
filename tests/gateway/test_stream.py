"""``/stream``: events as they happen, over both of its ways."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.gateway.conftest import ALICE, BOB
from tests.support.gateway import Gateway

AS_ALICE = {"Authorization": f"Bearer {ALICE}"}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=AS_ALICE) as client:
        yield client


def conversation(served: Gateway) -> str:
    """A session with what was said in it."""
    made = str(served.ask("POST", "/sessions", {"agent": "helper"}, token=ALICE)["session"]["id"])
    say(served, made, "hello")
    return made


def say(served: Gateway, session: str, text: str) -> None:
    run = served.ask("POST", f"/sessions/{session}/messages", {"text": text}, token=ALICE)["run"]["id"]
    assert served.ask("GET", f"/runs/{run}/wait", token=ALICE)["run"]["status"] == "succeeded"


def stored(served: Gateway, session: str) -> list[Any]:
    return list(served.ask("GET", f"/sessions/{session}/events?limit=1000", token=ALICE)["events"])


async def pieces(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    """Read server-sent events, by their fields."""
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    piece: dict[str, str] = {}
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if not name and piece:
            yield piece
            piece = {}
        elif name and not line.startswith(b":"):
            piece[name] = value


async def events_of(response: aiohttp.ClientResponse, until: str) -> list[Any]:
    """Read until an event of this type; each has its cursor as id."""
    found = []
    async with asyncio.timeout(30):
        async for piece in pieces(response):
            if "data" in piece and "event" not in piece:
                event = json.loads(piece["data"])
                assert piece["id"] == str(event["cursor"])
                found.append(event)
                if event["event_type"] == until:
                    return found
    raise AssertionError(f"the stream ended before {until}: {found}")


async def test_stored_events_come_first_then_those_that_happen(served: Gateway, client: aiohttp.ClientSession) -> None:
    session = await asyncio.to_thread(conversation, served)
    async with client.get(f"{served.url}/stream?sessionId={session}&cursor=0") as response:
        assert response.headers["Cache-Control"] == "no-store"
        saying = asyncio.create_task(asyncio.to_thread(say, served, session, "again"))
        found = await events_of(response, "run.succeeded") + await events_of(response, "run.succeeded")
        await saying
    assert found == await asyncio.to_thread(stored, served, session)


async def test_a_follower_goes_on_after_its_last_event(served: Gateway, client: aiohttp.ClientSession) -> None:
    session = await asyncio.to_thread(conversation, served)
    all_of_it = await asyncio.to_thread(stored, served, session)
    last = {"Last-Event-ID": str(all_of_it[2]["cursor"])}
    async with client.get(f"{served.url}/api/v1/stream?sessionId={session}&cursor=0", headers=last) as response:
        assert await events_of(response, "run.succeeded") == all_of_it[3:]
    await asyncio.to_thread(served.restart)
    async with client.get(f"{served.url}/stream?sessionId={session}", headers=last) as response:
        assert await events_of(response, "run.succeeded") == all_of_it[3:]
    async with client.get(f"{served.url}/stream?sessionId={session}", headers={"Last-Event-ID": ""}) as response:
        assert await events_of(response, "run.succeeded") == all_of_it
    async with client.get(f"{served.url}/stream", headers={"Last-Event-ID": "x"}) as response:
        assert response.status == 422


async def test_who_comes_from_beyond_the_end_hears_what_happens_next(
    served: Gateway, client: aiohttp.ClientSession
) -> None:
    """As after a backup of the database was put back."""
    session = await asyncio.to_thread(conversation, served)
    headers = {"Last-Event-ID": "999999999"}
    async with client.get(f"{served.url}/stream?sessionId={session}", headers=headers) as response:
        await asyncio.to_thread(served.ask, "DELETE", f"/sessions/{session}", token=ALICE)
        (closed,) = await events_of(response, "session.closed")
    assert closed == (await asyncio.to_thread(stored, served, session))[-1]


async def test_a_websocket_at_the_same_path_gives_the_same(served: Gateway, client: aiohttp.ClientSession) -> None:
    session = await asyncio.to_thread(conversation, served)
    all_of_it = await asyncio.to_thread(stored, served, session)
    address = f"{served.url}/stream?sessionId={session}&cursor={all_of_it[0]['cursor']}"
    async with client.ws_connect(address) as socket, asyncio.timeout(30):
        found = [json.loads((await socket.receive()).data) for _ in all_of_it[1:]]
        assert found == all_of_it[1:]
        await asyncio.to_thread(say, served, session, "again")
        while json.loads((await socket.receive()).data)["event_type"] != "run.succeeded":
            pass
        await socket.send_str("anything")
        assert not socket.closed


async def test_all_that_the_caller_sees_can_be_followed_and_nothing_else(
    served: Gateway, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{served.url}/stream?cursor=now") as response:
        bobs = await asyncio.to_thread(served.ask, "POST", "/sessions", {"agent": "helper"}, token=BOB)
        session = await asyncio.to_thread(conversation, served)
        found = await events_of(response, "run.succeeded")
    assert {event["session_id"] for event in found} == {session}
    assert bobs["session"]["id"] != session


async def test_a_page_of_another_origin_cannot_follow_by_websocket(
    served: Gateway, client: aiohttp.ClientSession
) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{served.url}/stream", headers=headers)
        assert refused.value.status == 403


async def test_streams_and_waits_end_in_words_when_the_gateway_stops(
    served: Gateway, client: aiohttp.ClientSession
) -> None:
    session, gate = await asyncio.to_thread(conversation, served), served.daemon.folder / "gate"
    run = await asyncio.to_thread(
        served.ask, "POST", "/runs", {"session_id": session, "prompt": f"STUB-UNTIL:{gate}"}, token=ALICE
    )
    async with (
        client.get(f"{served.url}/stream?cursor=now") as response,
        client.ws_connect(f"{served.url}/stream?cursor=now") as socket,
        asyncio.timeout(30),
    ):
        waiting = asyncio.create_task(client.get(f"{served.url}/runs/{run['run']['id']}/wait?timeout_s=60"))
        # Its connection was made first.
        assert (await client.get(f"{served.url}/health")).status == 200
        assert served.process is not None
        served.process.send_signal(signal.SIGTERM)
        last = [piece async for piece in pieces(response)][-1]
        assert (last["event"], json.loads(last["data"])["event_type"]) == ("stopping", "gateway.stopping")
        messages = [message async for message in socket]
        assert json.loads(messages[-1].data)["event_type"] == "gateway.stopping"
        assert socket.close_code == 1001
        waited = await (await waiting).json()
        assert waited["timed_out"]
    assert await asyncio.to_thread(served.wait_exit) == 0
    await asyncio.to_thread(served.start)
    gate.touch()
    done = await asyncio.to_thread(served.ask, "GET", f"/runs/{run['run']['id']}/wait", token=ALICE)
    assert done["run"]["status"] == "succeeded", "the next gateway tells how the turn ended"
