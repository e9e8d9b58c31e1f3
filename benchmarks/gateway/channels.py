"""What channels add to a turn, and how many messages they bear, with an agent that answers at once.

``python -m benchmarks.gateway.channels [--turns N] [--messages N]``.

A broker takes its own time for a message and its answer: that of a bare client which answers after as long as a turn by
HTTP takes, in the same run. What is beyond is the gateway's.
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
_ECHO = "echo"
"""Of the names of channels that nobody but the bare client has."""
_MS = 1000.0
_TARGET = 30


@dataclass(frozen=True, slots=True)
class End:
    """The other end of a channel."""

    say: Callable[[bytes], Awaitable[object]]
    heard: asyncio.Queue[Heard]


@dataclass(frozen=True, slots=True)
class Heard:
    """A message or an answer."""

    answers: bool
    about: str
    at: float


def _note(heard: asyncio.Queue[Heard], data: bytes) -> None:
    message = json.loads(data)
    if message["type"] == "assistant":
        heard.put_nowait(Heard(answers=True, about=message["in_reply_to"], at=time.time()))
    elif message["type"] == "user":
        heard.put_nowait(Heard(answers=False, about=message["id"], at=time.time()))


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
async def stream(url: str, name: str) -> AsyncIterator[End]:
    """By a Redis stream."""
    client = Redis.from_url(url, protocol=2)
    heard: asyncio.Queue[Heard] = asyncio.Queue()

    async def listen() -> None:
        last = "0"
        while True:
            found = await client.xread({name: last}, block=1000)
            for identity, fields in found[0][1] if isinstance(found, list) and found else ():
                last = identity.decode()
                _note(heard, fields[b"data"])

    async with _running(listen):
        yield End(lambda data: client.xadd(name, {"data": data}), heard)
    await client.aclose()


@asynccontextmanager
async def pubsub(url: str, name: str) -> AsyncIterator[End]:
    """By Redis Pub/Sub."""
    client = Redis.from_url(url, protocol=2)
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    subscribed = client.pubsub()
    await subscribed.subscribe(name)

    async def listen() -> None:
        async for message in subscribed.listen():
            if message["type"] == "message":
                _note(heard, message["data"])

    async with _running(listen):
        yield End(lambda data: client.publish(name, data), heard)
    await subscribed.aclose()  # type: ignore[no-untyped-call]
    await client.aclose()


@asynccontextmanager
async def kafka(server: str, name: str) -> AsyncIterator[End]:
    """By Kafka."""
    producer = AIOKafkaProducer(bootstrap_servers=server, acks="all")
    consumer = AIOKafkaConsumer(name, bootstrap_servers=server, auto_offset_reset="latest")
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    await producer.start()
    await producer.partitions_for(name)
    await consumer.start()

    async def listen() -> None:
        async for record in consumer:
            _note(heard, record.value)

    async with _running(listen):
        yield End(lambda data: producer.send_and_wait(name, data), heard)
    await consumer.stop()
    await producer.stop()


async def _answer(end: End) -> Heard:
    while not (heard := await asyncio.wait_for(end.heard.get(), _PATIENCE)).answers:
        pass
    return heard


async def _turn(end: End, text: str) -> float:
    """Measure a turn, from a message to its answer."""
    begun = time.time()
    await end.say(_message(text))
    while (heard := await _answer(end)).about != text:
        pass
    return heard.at - begun


@dataclass(slots=True)
class Echo:
    """A bare client that answers each message."""

    end: End
    after: float = 0.0
    """Seconds that it takes for that."""

    async def run(self) -> None:
        """Answer until it is cancelled."""
        while True:
            heard = await self.end.heard.get()
            if not heard.answers:
                # All that the gateway writes: who reads it waits for each by itself.
                await self.end.say(b'{"type":"status","status":"running"}')
                await asyncio.sleep(self.after)
                await self.end.say(json.dumps({"type": "assistant", "in_reply_to": heard.about}).encode())
                await self.end.say(b'{"type":"status","status":"succeeded"}')


async def by_channel(name: str, clients: Clients, end: End, bare: End, echo: Echo, count: int) -> None:
    """Measure turns one after the other: by HTTP, by a bare client that takes as long, by the channel.

    In turn, since others that use the machine do it unevenly.
    """
    session = await clients.session()
    by_http: list[float] = []
    by_bare: list[float] = []
    by_gateway: list[float] = []
    # What comes first is not counted: a producer asks for the topic then, and an agent is started.
    for number in range(-1, count):
        begun = time.time()
        await clients.wait(await clients.send(session, f"message {number}"))
        echo.after = time.time() - begun
        times = echo.after, await _turn(bare, f"turn {number}"), await _turn(end, f"turn {number}")
        if number >= 0:
            for each, measured in zip((by_http, by_bare, by_gateway), times, strict=True):
                each.append(measured)
    tell("a turn by HTTP", ms(by_http))
    tell(f"  by {name}, a bare client's", ms(by_bare))
    tell(f"  by {name}, the gateway's", ms(by_gateway))
    added = median(by_gateway) - median(by_bare)
    tell("  added beyond the bare client's", f"{added * _MS:.1f} ms of the medians (target {_TARGET})")


async def by_load(name: str, end: End, most: int) -> None:
    """Measure many messages at once."""
    begun = time.time()
    left = {f"load {number}" for number in range(most)}
    for text in sorted(left):
        await end.say(_message(text))
    # Those of several partitions come in any order.
    while left:
        left.discard((await _answer(end)).about)
    tell(f"{most} messages by {name}", f"{most / (time.time() - begun):.0f} a second, all answered by one agent")


async def _measure(gateway: Gateway, ends: dict[str, tuple[str, str]], given: argparse.Namespace) -> None:
    openers = {"stream": (stream, "agent:{}"), "pubsub": (pubsub, "agent:{}"), "kafka": (kafka, "mcp_agent_{}")}
    async with AsyncExitStack() as stack:
        clients = Clients(gateway)
        stack.push_async_callback(clients.close)
        for kind, (name, address) in ends.items():
            opener, where = openers[kind]
            async with opener(address, where.format(kind)) as end:
                async with opener(address, where.format(_ECHO)) as bare, opener(address, where.format(_ECHO)) as other:
                    echo = Echo(other)
                    async with _running(echo.run):
                        await by_channel(name, clients, end, bare, echo, given.turns)
                await by_load(name, end, given.messages)


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
