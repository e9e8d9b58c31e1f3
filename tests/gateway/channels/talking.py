"""Declaring channels, and hearing what comes by them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.gateway.stand_in import COMMAND
from tests.support.agents import jcard
from tests.support.gateway import Gateway

AGENT = {"name": "helper", "command": COMMAND, "restart_delay": "100ms", "grace_period": "1s"}


def declare(
    gateway: Gateway, *channels: Mapping[str, object], agents: Sequence[Mapping[str, object]] = (AGENT,)
) -> None:
    """Declare channels of agents."""
    tables = "".join(
        "\n[[gateway.channels]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in channel.items())
        for channel in channels
    )
    gateway.daemon.write_jcard(jcard(*agents) + tables)


def status(gateway: Gateway, number: int = 0) -> Any:  # noqa: ANN401
    """How a channel does."""
    return gateway.ask("GET", "/channels")["channels"][number]


def await_connected(gateway: Gateway, number: int = 0) -> None:
    """Wait until a channel has its broker."""
    gateway.daemon.wait_for(lambda: status(gateway, number)["state"] == "connected", what="the channel is connected")


def user(content: str, **more: object) -> bytes:
    """A message for the agent."""
    return json.dumps({"type": "user", "content": content, **more}).encode()


class Stream:
    """Those at the other end of a stream."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self.client = client
        self.name = f"agent:{name}"

    def say(self, data: bytes) -> str:
        """Write a message; gives its id."""
        return bytes(self.client.xadd(self.name, {"data": data})).decode()  # type: ignore[arg-type]

    def all(self, kind: str) -> list[Any]:
        """All messages of a type."""
        found: Any = self.client.xrange(self.name)
        said = [json.loads(fields[b"data"]) for _, fields in found if fields[b"data"].startswith(b"{")]
        return [each for each in said if each.get("type") == kind]

    def contents(self) -> list[str]:
        """What was answered."""
        return [each["content"] for each in self.all("assistant")]


def _parsed(data: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(data)
    except ValueError:
        return None


class Topic:
    """Those at the other end of a topic: all that is on it, from its beginning."""

    def __init__(self, server: str, name: str, **options: object) -> None:
        self._options = {"bootstrap_servers": server, **options}
        self.name = name

    async def say(self, *messages: bytes) -> list[str]:
        """Write messages; gives their ids."""
        producer = AIOKafkaProducer(**self._options)
        await producer.start()
        try:
            sent = [await producer.send_and_wait(self.name, each) for each in messages]
        finally:
            await producer.stop()
        return [f"{each.topic}/{each.partition}/{each.offset}" for each in sent]

    async def values(self, wanted: Callable[[list[bytes]], bool], limit: float = 60.0) -> list[bytes]:
        """Read all from the beginning until it is what is wanted, and what follows that at once."""
        async with asyncio.timeout(limit):
            # A topic may be made meanwhile, and a broker that was just started may tell of some partitions alone.
            while not wanted(found := await self._read(wanted)):
                pass
        return found

    async def _read(self, wanted: Callable[[list[bytes]], bool]) -> list[bytes]:
        """Read for some seconds. Where partitions end is not asked: the broker's answer may be as old."""
        found: list[bytes] = []
        consumer = AIOKafkaConsumer(self.name, **self._options, auto_offset_reset="earliest")
        await consumer.start()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10.0):
                    while not wanted(found):
                        found += await _some(consumer)
                    found += await _some(consumer)
        finally:
            await consumer.stop()
        return found

    async def await_answers(self, *wanted: str) -> list[Any]:
        """Wait until these are answered, each once, and nothing else is."""
        found = _answers(await self.values(lambda values: len(_answers(values)) >= len(wanted)))
        assert sorted(each["content"] for each in found) == sorted(wanted)
        return found

    async def await_each(self, *wanted: str) -> None:
        """Wait until these are answered, each by one answer, however often that was sent."""

        def by_id(values: list[bytes]) -> dict[str, str]:
            return {each["id"]: each["content"] for each in _answers(values)}

        found = await self.values(lambda values: {*wanted} <= {*by_id(values).values()}, 200)
        assert sorted(by_id(found).values()) == sorted(wanted)


async def _some(consumer: AIOKafkaConsumer) -> list[bytes]:
    return [each.value for records in (await consumer.getmany(timeout_ms=500)).values() for each in records]


def _answers(values: list[bytes]) -> list[Any]:
    said = [_parsed(each) for each in values]
    return [each for each in said if isinstance(each, dict) and each.get("type") == "assistant"]
