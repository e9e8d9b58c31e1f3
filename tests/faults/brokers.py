"""Brokers on whose channels is said what must not be lost: Redis, and one like Kafka. Each outlives its kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from agentd.gateway.channels import kafka as _imported_before_the_fork  # noqa: F401
from agentd.gateway.channels import redis_stream as _this_too  # noqa: F401
from tests.faults.points import Point
from tests.faults.world import World
from tests.support.kafka_broker import KafkaBroker
from tests.support.redis_server import RedisServer

_STREAM, _KAFKA = "agentd.gateway.channels.redis_stream", "agentd.gateway.channels.kafka"
_TOPIC = "mcp_agent_c"
_ANSWER = 20.0


class Broker(Protocol):
    """Where messages and answers stand."""

    @property
    def points(self) -> tuple[Point, ...]:
        """Steps of the gateway's that are its own."""

    def table(self) -> Mapping[str, object]:
        """What the jcard says of it."""

    def start(self) -> None:
        """Start it."""

    def kill(self) -> None:
        """SIGKILL it."""

    def say(self, message: Mapping[str, object]) -> None:
        """Write a message, which is kept then."""

    def all(self) -> list[Any]:
        """All that stands there, as far as it can be read now."""


class Redis:
    """A stream of Redis."""

    points = (
        Point("channel.claimed", _STREAM, "_Stream._claim"),
        Point("channel.read", _STREAM, "_Stream._entries", answered=True),
        Point("channel.acknowledged", _STREAM, "_Stream._take"),
        Point("answer.before_sent", _STREAM, "_Stream.send", before=True),
        Point("answer.sent", _STREAM, "_Stream.send"),
    )

    def __init__(self, world: World, folder: Path) -> None:
        self._server = RedisServer(folder)
        world.before_the_end.append(self._server.close)

    def table(self) -> Mapping[str, object]:
        """What the jcard says of it."""
        # What another process of the gateway's was given and did not take is taken over soon.
        return {"backend": "redis", "url": self._server.url, "mode": "stream", "session_timeout": "500ms"}

    def start(self) -> None:
        """Start it."""
        self._server.start()

    def kill(self) -> None:
        """SIGKILL it."""
        self._server.kill()

    def say(self, message: Mapping[str, object]) -> None:
        """Write a message, which is on the disk then."""
        with self._server.client() as client:
            client.xadd("agent:c", {"data": json.dumps(message)})

    def all(self) -> list[Any]:
        """All that stands there."""
        with self._server.client() as client:
            entries: Any = client.xrange("agent:c")
        return [json.loads(fields[b"data"]) for _, fields in entries]


class Kafka:
    """A topic of a broker like Kafka, whose store is a process of its own: fault runs fork, and have no threads."""

    points = (
        Point("channel.before_read", _KAFKA, "_Kafka._take", before=True),
        Point("channel.before_committed", _KAFKA, "_Kafka._commit_to", before=True),
        Point("channel.committed", _KAFKA, "_Kafka._commit_to"),
        Point("answer.before_sent", _KAFKA, "_Kafka.send", before=True),
        Point("answer.sent", _KAFKA, "_Kafka.send"),
    )

    def __init__(self, world: World, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.support.object_store"]
        self._store = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._store.stdout is not None
        self._broker = KafkaBroker(folder, self._store.stdout.readline().strip())
        self._read: list[Any] = []
        world.before_the_end.append(self._close)

    def _close(self) -> None:
        self._broker.close()
        self._store.communicate()

    def table(self) -> Mapping[str, object]:
        """What the jcard says of it."""
        servers = [self._broker.server]
        return {"backend": "kafka", "bootstrap_servers": servers, "session_timeout": "1s"}

    def start(self) -> None:
        """Start it."""
        self._broker.start()

    def kill(self) -> None:
        """SIGKILL it."""
        self._broker.kill()

    def say(self, message: Mapping[str, object]) -> None:
        """Write a message, which is in the store then."""
        asyncio.run(self._say(json.dumps(message).encode()))

    async def _say(self, data: bytes) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._broker.server, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(_TOPIC, data)
        finally:
            await producer.stop()

    def all(self) -> list[Any]:
        """All that stands there; what was read last, if the broker does not answer now."""
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            found = asyncio.run(asyncio.wait_for(self._values(), _ANSWER))
            # A broker that was just started may tell of some partitions alone.
            if len(found) >= len(self._read):
                self._read = found
        return self._read

    async def _values(self) -> list[Any]:
        consumer = AIOKafkaConsumer(_TOPIC, bootstrap_servers=self._broker.server, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [*consumer.assignment()]
            ends = await consumer.end_offsets(partitions)
            left, found, more = {each for each in partitions if ends[each]}, [], True
            # What it says of the ends may be old: over 50 s were seen.
            while left or more:
                read = await consumer.getmany(timeout_ms=200)
                for partition, records in read.items():
                    found += [json.loads(record.value) for record in records]
                    if records[-1].offset + 1 >= ends[partition]:
                        left.discard(partition)
                more = bool(read)
        finally:
            await consumer.stop()
        return found
