"""What agentd-gateway adds to a turn, beside agentd alone in the same run, and what it bears.

``python -m benchmarks.gateway [--turns N] [--conversations N] [--followers N] [--events N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pwd
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import aiohttp

from benchmarks.gateway.clocked import PIECES
from benchmarks.machine import cpu_seconds, resident_megabytes
from tests.support.daemon import Daemon
from tests.support.gateway import Gateway

_AGENT = Path(__file__).with_name("clocked.py")
_PATIENCE = 120.0
_MS = 1000.0


class BenchError(RuntimeError):
    """Something did not do what is to be measured."""


def ms(seconds: Sequence[float]) -> str:
    """The median and the 99th percentile."""
    last = quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]
    return f"median {median(seconds) * _MS:.1f} ms, p99 {last * _MS:.1f} ms"


def tell(name: str, text: str) -> None:
    """Print a figure."""
    sys.stdout.write(f"{name:<34} {text}\n")
    sys.stdout.flush()


class Clients:
    """Whoever asks the gateway, and agentd's turns socket."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        limits = aiohttp.ClientTimeout(total=None, sock_read=_PATIENCE)
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits)
        turns = f"{gateway.daemon.api_socket}.turns"
        self._turns = aiohttp.ClientSession(connector=aiohttp.UnixConnector(turns, limit=0), timeout=limits)

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Ask the gateway."""
        async with self._http.request(method, self._gateway.url + path, json=body) as answer:
            if not answer.ok:
                raise BenchError(f"{method} {path}: {answer.status} {await answer.text()}")
            read: dict[str, object] = await answer.json()
            return read

    async def session(self) -> str:
        """Make a session."""
        made = (await self.ask("POST", "/sessions", {"agent": "clocked"}))["session"]
        assert isinstance(made, dict)
        return str(made["id"])

    async def send(self, session: str, text: str) -> str:
        """Send a message; gives its run."""
        run = (await self.ask("POST", f"/sessions/{session}/messages", {"text": text}))["run"]
        assert isinstance(run, dict)
        return str(run["id"])

    async def wait(self, run: str) -> None:
        """Wait until a run is over.

        Raises
        ------
        BenchError
            If it did not succeed.
        """
        waited = (await self.ask("GET", f"/runs/{run}/wait?timeout_s={_PATIENCE:g}"))["run"]
        if not isinstance(waited, dict) or waited["status"] != "succeeded":
            raise BenchError(f"expected the run to succeed: {waited}")

    async def stream(self, session: str) -> AsyncIterator[dict[str, object]]:
        """Follow a session's events."""
        async with self._http.get(f"{self._gateway.url}/stream?sessionId={session}&cursor=0") as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    async def turn_of_agentd(self, name: str, number: int) -> tuple[float, float]:
        """One turn without the gateway: until the agent has the message, and from its answer until it is here."""
        async with self._turns.get(f"http://agentd/v1/turns/{name}/stream") as answer:
            begun = time.time()
            body = {"id": f"bench-{number}", "text": f"message {number}"}
            async with self._turns.post(f"http://agentd/v1/turns/{name}/messages", json=body) as taken:
                if not taken.ok:
                    raise BenchError(f"agentd: {taken.status} {await taken.text()}")
            times = 0.0, 0.0
            async for line in answer.content:
                told = json.loads(line)
                if told.get("kind") == "text_delta":
                    got, said = map(float, str(told["text"]).split())
                    times = got - begun, time.time() - said
                if told.get("kind") == "message" and told.get("status") == "ended":
                    return times
        raise BenchError("the stream ended before the turn")

    async def close(self) -> None:
        """Hang up."""
        await self._http.close()
        await self._turns.close()


async def turns(clients: Clients, count: int) -> None:
    """Compare turns through the gateway with turns by agentd alone, one after the other."""
    session = await clients.session()
    await clients.wait(await clients.send(session, "warm up"))
    delivered: list[float] = []
    heard: list[float] = []
    outputs: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def listen() -> None:
        async for event in clients.stream(session):
            data = event["data"]
            if event["event_type"] == "run.output" and isinstance(data, dict):
                outputs.put_nowait((str(data["text"]), time.time()))

    listening = asyncio.create_task(listen())
    await asyncio.wait_for(outputs.get(), _PATIENCE)
    bare: list[tuple[float, float]] = []
    for number in range(count):
        begun = time.time()
        run = await clients.send(session, f"message {number}")
        text, at = await asyncio.wait_for(outputs.get(), _PATIENCE)
        got, said = map(float, text.split())
        delivered.append(got - begun)
        heard.append(at - said)
        await clients.wait(run)
        bare.append(await clients.turn_of_agentd("direct", number))
    listening.cancel()
    bare_delivered, bare_heard = [each[0] for each in bare], [each[1] for each in bare]
    tell("message to agent, gateway", ms(delivered))
    tell("message to agent, agentd alone", ms(bare_delivered))
    tell("  added, of the medians", f"{(median(delivered) - median(bare_delivered)) * _MS:.1f} ms (target 20)")
    tell("text to client, gateway", ms(heard))
    tell("text to client, agentd alone", ms(bare_heard))
    tell("  added, of the medians", f"{(median(heard) - median(bare_heard)) * _MS:.1f} ms (target 20)")


async def at_once(clients: Clients, gateway: Gateway, count: int) -> None:
    """Hold many conversations at once."""
    sessions = [await clients.session() for _ in range(count)]
    for text in ("first", "second"):
        begun, used = time.perf_counter(), cpu_seconds(_pid(gateway))
        runs = await asyncio.gather(*(clients.send(session, text) for session in sessions))
        await asyncio.gather(*map(clients.wait, runs))
        took, cpu = time.perf_counter() - begun, cpu_seconds(_pid(gateway)) - used
        starts = ", their agents' starts included" if text == "first" else ""
        tell(f"{count} conversations at once", f"{took:.2f} s, {cpu:.2f} s of CPU of the gateway{starts}")
    for session in sessions:
        await clients.ask("DELETE", f"/sessions/{session}")


async def followers(clients: Clients, count: int) -> None:
    """Have many follow one conversation: each hears all of it, in order."""
    session = await clients.session()
    await clients.wait(await clients.send(session, "warm up"))
    ready = asyncio.Semaphore(0)

    async def follow() -> tuple[tuple[int, ...], float]:
        seen: list[int] = []
        ends = 0
        async for event in clients.stream(session):
            seen.append(int(str(event["cursor"])))
            ends += event["event_type"] == "run.succeeded"
            if ends == 1 and event["event_type"] == "run.succeeded":
                ready.release()
            if ends > 1:
                return tuple(seen), time.perf_counter()
        raise BenchError("a stream ended")

    tasks = [asyncio.create_task(follow()) for _ in range(count)]
    for _ in tasks:
        await ready.acquire()
    begun = time.perf_counter()
    await clients.send(session, f"now {PIECES}50")
    heard = await asyncio.gather(*tasks)
    kinds = {events for events, _ in heard}
    (events,) = kinds
    lost = "none lost, none twice" if list(events) == sorted(set(events)) else "OUT OF ORDER"
    took = max(at for _, at in heard) - begun
    tell(f"{count} followers of 50 pieces", f"{took:.2f} s until the last has the last; {lost}")


async def lists(gateway: Gateway, clients: Clients, count: int) -> None:
    """Look at a session of many events."""
    session = await clients.session()
    gateway.stop()
    with sqlite3.connect(gateway.daemon.state / "gateway.db") as database:
        row = ("evt_x", session, None, None, "run.output", json.dumps({"text": "a piece of an answer", "message": 0}))
        database.executemany(
            "INSERT INTO events (id, session_id, run_id, owner, event_type, data, created_at) VALUES (?,?,?,?,?,?,?)",
            ((*row, time.time()) for _ in range(count)),
        )
        (first,) = database.execute("SELECT min(cursor) FROM events WHERE id = 'evt_x'").fetchone()
    database.close()
    gateway.restart()
    for what, paths in (
        ("events", [f"/sessions/{session}/events?limit=100&cursor={first + 997 * n % count}" for n in range(300)]),
        ("sessions", ["/sessions?limit=100"] * 100),
        ("runs", ["/runs?limit=100"] * 100),
    ):
        times = []
        for path in paths:
            begun = time.perf_counter()
            await clients.ask("GET", path)
            times.append(time.perf_counter() - begun)
        tell(f"a page of {what} among {count} events", f"{ms(times)} (target 20)")


def starts(gateway: Gateway) -> None:
    """Start it some times, and look at its memory."""
    times: list[float] = []
    memory: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        gateway.start("--max-concurrency=1000")
        times.append(time.perf_counter() - begun)
        memory.append(resident_megabytes(_pid(gateway)))
        gateway.stop()
    command = [sys.executable, "-c", "import aiohttp, pydantic, sqlalchemy.ext.asyncio, alembic.command, structlog"]
    floor = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(command, check=True)
        floor.append(time.perf_counter() - begun)
    tell("start", f"median {median(times):.2f} s; its libraries alone {median(floor):.2f} s (target 1 s)")
    tell("memory, nothing done yet", f"{median(memory):.0f} MB (target 120)")


def _pid(gateway: Gateway) -> int:
    assert gateway.process is not None
    return gateway.process.pid


@asynccontextmanager
async def _clients(gateway: Gateway) -> AsyncIterator[Clients]:
    clients = Clients(gateway)
    try:
        yield clients
    finally:
        await clients.close()


async def _measure(gateway: Gateway, given: argparse.Namespace) -> None:
    async with _clients(gateway) as clients:
        await turns(clients, given.turns)
        await at_once(clients, gateway, given.conversations)
        await followers(clients, given.followers)
        tell("memory after that", f"{resident_megabytes(_pid(gateway)):.0f} MB (target 120)")
        await lists(gateway, clients, given.events)


def main() -> int:
    """Measure all of it, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    for name, default in (("turns", 50), ("conversations", 100), ("followers", 1000), ("events", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    given = parser.parse_args()
    tell("load average before", " ".join(f"{each:.2f}" for each in os.getloadavg()))
    with tempfile.TemporaryDirectory(prefix="agentd-bench-", dir="/dev/shm") as folder:
        daemon = Daemon(Path(folder))
        gateway = Gateway(daemon)
        command = json.dumps([sys.executable, "-I", "-S", str(_AGENT)])
        daemon.write_jcard(
            "".join(
                f'[[agents]]\nname = "{name}"\nharness = "custom"\ncommand = {command}\n\n'
                for name in ("clocked", "direct")
            )
        )
        daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}")
        try:
            starts(gateway)
            gateway.start("--max-concurrency=1000")
            asyncio.run(_measure(gateway, given))
        finally:
            problems = [*gateway.close(), *daemon.close()]
    tell("load average after", " ".join(f"{each:.2f}" for each in os.getloadavg()))
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
