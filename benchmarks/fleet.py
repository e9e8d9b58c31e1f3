"""A fleet without Ray, its Controller and its Nodes in processes of their own: ``python -m benchmarks.fleet``.

What Ray would carry goes over a Unix socket, and an agentd that declares nothing answers each Node: what is left is
what the fleet itself takes from `apply` to a drop-in for each agent, while idle, and in memory. The Nodes are in four
processes, however many there are. The floor writes as many files. With ``TMPDIR=/dev/shm`` no disk is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.managers import BaseManager
from pathlib import Path
from statistics import median

from aiohttp import web

from agentd.fleet.controller import Controller
from agentd.fleet.folder import OWNER, FleetFolder
from agentd.fleet.ledger import HostRecord
from agentd.fleet.messages import HostReport, Orders
from agentd.fleet.node import Node
from benchmarks.machine import cpu_seconds, resident_megabytes

_SPAWN = multiprocessing.get_context("spawn")
_LEASE = 30.0
_PATIENCE = 120.0
_PROCESSES = 4
"""That the Nodes are in."""

JCARD = """
[[agents]]
name = "w"
harness = "custom"
command = ["sleep", "infinity"]
replicas = {replicas}
"""


class _Manager(BaseManager):
    """Serves the Controller to the hosts."""

    def controller(self) -> Controller:
        """Give what calls it; once registered."""
        raise NotImplementedError


def _controller(address: str, ledger: Path, told: Connection) -> None:
    controller = Controller(ledger, _LEASE)
    _Manager.register("controller", callable=lambda: controller)
    server = _Manager(address, b"benchmark").get_server()
    told.send(os.getpid())
    server.serve_forever()


def _hosts(folders: list[Path], slots: int, address: str, told: Connection) -> None:
    asyncio.run(_be_hosts(folders, slots, address, told))


async def _be_hosts(folders: list[Path], slots: int, address: str, told: Connection) -> None:
    _Manager.register("controller")
    manager = _Manager(address, b"benchmark")
    manager.connect()
    controller = manager.controller()

    async def ask(report: HostReport) -> Orders | None:
        orders = await asyncio.to_thread(controller.hear, report)
        assert orders is None or isinstance(orders, Orders)
        return orders

    nodes = []
    for folder in folders:
        await _answer(folder / "agentd.sock")
        record = HostRecord(folder.name, slots, 64.0, 1 << 36, 0.0, (), False, "127.0.0.1")
        nodes.append(Node(record, FleetFolder(folder / OWNER), folder / "agentd.sock", ask))

    def woken() -> None:
        told.recv()
        for node in nodes:
            node.wake()

    asyncio.get_running_loop().add_reader(told.fileno(), woken)
    told.send(os.getpid())
    await asyncio.gather(*(node.run() for node in nodes))


async def _answer(path: Path) -> None:
    """Be an agentd with no agents, that has run for long."""

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"version": "0", "uptime_seconds": 1000})

    async def agents(_request: web.Request) -> web.Response:
        return web.json_response([])

    app = web.Application()
    app.add_routes([web.get("/v1/health", health), web.get("/v1/agents", agents)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[tuple[SpawnProcess, Connection]]:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(_PATIENCE):
            raise TimeoutError(f"a process of the fleet has not begun within {_PATIENCE:g} s")
        ours.recv()
        yield process, ours
    finally:
        process.terminate()
        process.join(10)


def _wait(folders: list[Path], count: int) -> float:
    """Wait for so many drop-ins; give the moment."""
    end = time.monotonic() + _PATIENCE
    while sum(len(list(folder.glob("*.toml"))) for folder in folders) != count:
        if time.monotonic() > end:
            raise TimeoutError(f"there are not {count} drop-ins after {_PATIENCE:g} s")
        time.sleep(0.005)
    return time.monotonic()


def _floor(folder: Path, count: int) -> float:
    """Write as many files of the size of a drop-in, each replaced as a whole and made durable; milliseconds."""
    begun = time.monotonic()
    for number in range(count):
        path = folder / f"{number}.new"
        with path.open("wb") as file:
            file.write(b"x" * 300)
            file.flush()
            os.fsync(file.fileno())
        path.rename(folder / f"{number}.toml")
    return 1000 * (time.monotonic() - begun)


def measure(hosts: int, replicas: int, rounds: int, idle: float, base: Path) -> str:
    """Begin a fleet, apply and take back a jcard so often, and look at it while idle; gives a row."""
    with ExitStack() as stack:
        address = str(base / "c.sock")
        controller, _ = stack.enter_context(_process(_controller, address, base / "fleet.db"))
        homes = [base / f"h{number:02}" for number in range(hosts)]
        for home in homes:
            home.mkdir()
        folders, slots = [home / OWNER for home in homes], 2 * replicas // hosts + 1
        begun = [
            stack.enter_context(_process(_hosts, homes[first::_PROCESSES], slots, address))
            for first in range(_PROCESSES)
        ]
        nodes, wake = [process.pid or 0 for process, _ in begun], [pipe for _, pipe in begun]
        _Manager.register("controller")
        manager = _Manager(address, b"benchmark")
        manager.connect()
        asked = manager.controller()
        until = time.monotonic() + _PATIENCE
        while len(asked.hosts()) != hosts:
            if time.monotonic() > until:
                raise TimeoutError("not all hosts were heard")
            time.sleep(0.05)

        def apply(count: int) -> float:
            begun = time.monotonic()
            asked.apply(JCARD.format(replicas=count), "fleet.toml")
            for pipe in wake:
                pipe.send(None)
            return 1000 * (_wait(folders, count) - begun)

        taken, floors, used = [], [], []
        for number in range(rounds):
            apply(1)
            before = cpu_seconds(controller.pid or 0), sum(map(cpu_seconds, nodes))
            taken.append(apply(replicas))
            now = cpu_seconds(controller.pid or 0), sum(map(cpu_seconds, nodes))
            used.append((now[0] - before[0], now[1] - before[1]))
            floor = base / f"floor{number}"
            floor.mkdir()
            floors.append(_floor(floor, replicas))
        before = cpu_seconds(controller.pid or 0), sum(map(cpu_seconds, nodes))
        time.sleep(idle)
        now = cpu_seconds(controller.pid or 0), sum(map(cpu_seconds, nodes))
        memory = resident_megabytes(controller.pid or 0), median(map(resident_megabytes, nodes))
        return (
            f"| {hosts} | {median(taken):.0f} | {median(floors):.0f} | {median(taken) / median(floors):.1f} | "
            f"{1000 * median(each[0] for each in used):.0f} | {1000 * median(each[1] for each in used):.0f} | "
            f"{100 * (now[0] - before[0]) / idle:.1f} | {100 * (now[1] - before[1]) / idle / hosts:.1f} | "
            f"{memory[0]:.0f} | {memory[1]:.0f} |"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=500, help="agents to declare (default: 500)")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is done (default: 5)")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds that idleness is measured for (default: 10)")
    options = parser.parse_args()
    print(
        "| hosts | to all declared [ms] | floor [ms] | ratio | CPU Controller [ms] | Nodes [ms] | "
        "idle Controller [%] | Node [%] | "
        "RSS Controller [MB] | process of Nodes [MB] |"
    )
    print("|" + " --- |" * 10)
    for hosts in (4, 20):
        with tempfile.TemporaryDirectory(prefix="agentd-") as base:
            print(measure(hosts, options.replicas, options.rounds, options.idle, Path(base)), flush=True)


if __name__ == "__main__":
    main()
