"""What channels add to a turn, and how many messages they bear, with an agent that answers at once.

``python -m benchmarks.gateway.channels [--turns N] [--messages N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pwd
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from benchmarks.gateway.__main__ import Clients, ms, tell
from tests.support import kafka_broker, redis_server
from tests.support.daemon import Daemon
from tests.support.gateway import Gateway

_AGENT = Path(__file__).with_name("clocked.py")
_PATIENCE = 120.0
_MS = 1000.0
_TARGET = 30


@dataclass(frozen=True, slots=True)
class End:
    """The other end of a channel."""

    say: Callable[[str], Awaitable[object]]
    heard: asyncio.Queue[tuple[str, float]]
    """The contents of answers, and when they came."""


def _note(heard: asyncio.Queue[tuple[str, float]], data: bytes) -> None:
    message = json.loads(data)
    if message["type"] == "assistant":
        heard.put_nowait((message["in_reply_to"], time.time()))


def _message(text: str) -> bytes:
    return json.dumps({"type": "user", "content": text, "id": text}).encode()


@asynccontextmanager
async def _running(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        # redis-py may swallow one while it reads.
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=1)


@asynccontextmanager
async def stream(url: str) -> AsyncIterator[End]:
    """By a Redis stream."""
    client = Redis.from_url(url, protocol=2)
    heard: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def listen() -> None:
        last = "$"
        while True:
            found = await client.xread({"agent:stream": last}, block=1000)
            for identity, fields in found[0][1] if isinstance(found, list) and found else ():
                last = identity.decode()
                _note(heard, fields[b"data"])

    async with _running(listen):
        yield End(lambda text: client.xadd("agent:stream", {"data": _message(text)}), heard)
    await client.aclose()


@asynccontextmanager
async def pubsub(url: str) -> AsyncIterator[End]:
    """By Redis Pub/Sub."""
    client = Redis.from_url(url, protocol=2)
    heard: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    subscribed = client.pubsub()
    await subscribed.subscribe("agent:pubsub")

    async def listen() -> None:
        async for message in subscribed.listen():
            if message["type"] == "message":
                _note(heard, message["data"])

    async with _running(listen):
        yield End(lambda text: client.publish("agent:pubsub", _message(text)), heard)
    await subscribed.aclose()  # type: ignore[no-untyped-call]
    await client.aclose()


@asynccontextmanager
async def kafka(server: str) -> AsyncIterator[End]:
    """By Kafka."""
    producer = AIOKafkaProducer(bootstrap_servers=server)
    consumer = AIOKafkaConsumer("mcp_agent_kafka", bootstrap_servers=server, auto_offset_reset="latest")
    heard: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    await producer.start()
    await consumer.start()

    async def listen() -> None:
        async for record in consumer:
            _note(heard, record.value)

    async with _running(listen):
        yield End(lambda text: producer.send_and_wait("mcp_agent_kafka", _message(text)), heard)
    await consumer.stop()
    await producer.stop()


async def _answered(end: End, text: str) -> float:
    while True:
        about, at = await asyncio.wait_for(end.heard.get(), _PATIENCE)
        if about == text:
            return at


async def by_http(clients: Clients, count: int) -> float:
    """Measure turns by HTTP alone: from a message until its answer is there."""
    session = await clients.session()
    await clients.wait(await clients.send(session, "warm up"))
    times = []
    for number in range(count):
        begun = time.time()
        await clients.wait(await clients.send(session, f"message {number}"))
        times.append(time.time() - begun)
    tell("a turn by HTTP", ms(times))
    return median(times)


async def by_channel(name: str, end: End, count: int, most: int, floor: float) -> None:
    """Measure turns by a channel, one after the other, then many messages at once."""
    await end.say("warm up")
    await _answered(end, "warm up")
    times = []
    for number in range(count):
        begun = time.time()
        await end.say(f"turn {number}")
        times.append(await _answered(end, f"turn {number}") - begun)
    tell(f"a turn by {name}", ms(times))
    tell("  added to HTTP's, of the medians", f"{(median(times) - floor) * _MS:.1f} ms (target {_TARGET})")
    begun = time.time()
    left = {f"load {number}" for number in range(most)}
    for text in sorted(left):
        await end.say(text)
    # Those of several partitions come in any order.
    while left:
        left.discard((await asyncio.wait_for(end.heard.get(), _PATIENCE))[0])
    tell(f"{most} messages by {name}", f"{most / (time.time() - begun):.0f} a second, all answered by one agent")


async def _measure(gateway: Gateway, ends: dict[str, tuple[str, str]], given: argparse.Namespace) -> None:
    openers = {"stream": stream, "pubsub": pubsub, "kafka": kafka}
    async with AsyncExitStack() as stack:
        clients = Clients(gateway)
        stack.push_async_callback(clients.close)
        floor = await by_http(clients, given.turns)
        for kind, (name, address) in ends.items():
            async with openers[kind](address) as end:
                await by_channel(name, end, given.turns, given.messages, floor)


def main() -> int:
    """Measure all of it, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.channels", description=__doc__)
    parser.add_argument("--turns", type=int, default=50, metavar="N")
    parser.add_argument("--messages", type=int, default=200, metavar="N")
    given = parser.parse_args()
    tell("load average before", " ".join(f"{each:.2f}" for each in os.getloadavg()))
    with (
        tempfile.TemporaryDirectory(prefix="agentd-bench-", dir="/dev/shm") as folder,
        redis_server.serving(Path(folder) / "redis") as redis,
        kafka_broker.serving(Path(folder) / "kafka") as tansu,
    ):
        tansu.start()
        problems = _run(Path(folder), redis.url, tansu.server, given)
    tell("load average after", " ".join(f"{each:.2f}" for each in os.getloadavg()))
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


def _run(folder: Path, redis: str, tansu: str, given: argparse.Namespace) -> list[str]:
    (folder / "agentd").mkdir()
    daemon = Daemon(folder / "agentd")
    gateway = Gateway(daemon)
    ends = {
        "stream": ("a Redis stream", redis),
        "pubsub": ("Redis Pub/Sub", redis),
        "kafka": ("Kafka (tansu)", tansu),
    }
    tables = "".join(
        f'[[gateway.channels]]\nagent = "clocked"\nchannel_name = "{kind}"\n'
        + (
            f'backend = "kafka"\nbootstrap_servers = "{address}"\nsession_timeout = "1s"\n'
            if kind == "kafka"
            else f'backend = "redis"\nurl = "{address}"\nmode = "{kind}"\n'
        )
        for kind, (_, address) in ends.items()
    )
    command = json.dumps([sys.executable, "-I", "-S", str(_AGENT)])
    daemon.write_jcard(f'[[agents]]\nname = "clocked"\nharness = "custom"\ncommand = {command}\n\n{tables}')
    daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}")
    try:
        gateway.start("--max-concurrency=1000")
        daemon.wait_for(
            lambda: all(each["state"] == "connected" for each in gateway.ask("GET", "/channels")["channels"]),
            what="all channels are connected",
        )
        asyncio.run(_measure(gateway, ends, given))
    finally:
        problems = [*gateway.close(), *daemon.close()]
    return problems


if __name__ == "__main__":
    sys.exit(main())
