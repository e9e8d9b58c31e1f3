"""Streams of what happens: one order, nothing missed that is kept, and a gap where something is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from agentd.turns import streams as module
from agentd.turns.events import PermissionAsked
from agentd.turns.streams import KEPT, Stream, Streams, event_line


async def next_lines(follower: AsyncIterator[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in (await anext(follower)).splitlines()]


async def test_a_follower_gets_what_comes_and_one_that_comes_again_misses_nothing() -> None:
    stream = Stream(100)
    stream.add({"kind": "early"})
    follower = stream.follow(None)
    for number in range(3):
        stream.add({"kind": f"k{number}"})
    assert [(line["n"], line["kind"]) for line in await next_lines(follower)] == [(102, "k0"), (103, "k1"), (104, "k2")]
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    stream.add({"kind": "late"})
    assert json.loads(await waiting)["kind"] == "late"
    assert [line["n"] for line in await next_lines(stream.follow(102))] == [103, 104, 105]


@pytest.mark.parametrize("after", [5, 99, 10_000_000])
async def test_what_is_not_there_any_more_is_a_gap(after: int) -> None:
    stream = Stream(100)
    for number in range(KEPT + 5):
        stream.add({"kind": str(number)})
    follower = stream.follow(after)
    assert await next_lines(follower) == [{"kind": "gap"}]
    rest = await next_lines(follower)
    assert (len(rest), rest[-1]["n"]) == (KEPT, stream.last)


async def test_lines_are_bounded_in_bytes_too() -> None:
    stream = Stream(0)
    for _ in range(10):
        stream.add({"kind": "text", "text": "x" * (1 << 20)})
    lines, gap = stream.since(0)
    assert gap
    assert len(lines) < 5


async def test_it_says_that_it_is_alive_and_ends_with_the_declaration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE", 0.01)
    streams = Streams()
    stream = streams.of("A", 1.0)
    assert streams.of("a", 2.0) is stream
    follower = stream.follow(None)
    assert await next_lines(follower) == [{"kind": "alive"}]
    streams.declared(frozenset({"a"}))
    stream.add({"kind": "last"})
    streams.declared(frozenset())
    assert [line["kind"] for line in await next_lines(follower)] == ["last"]
    with pytest.raises(StopAsyncIteration):
        await anext(follower)
    streams.declared(frozenset({"a"}))
    assert streams.of("a", 3.0).open


async def test_streams_of_agents_that_are_gone_are_forgotten() -> None:
    streams = Streams()
    for number in range(100):
        streams.of(f"a{number}", 1.0)
    streams.declared(frozenset({"a99"}))
    assert len(streams._streams) == 65


def test_an_event_is_told_with_its_fields() -> None:
    line = event_line(PermissionAsked("r", "Bash", "make", "t"))
    wanted = {"kind": "permission_asked", "request": "r", "name": "Bash", "text": "make", "tool": "t"}
    assert {name: line[name] for name in wanted} == wanted
