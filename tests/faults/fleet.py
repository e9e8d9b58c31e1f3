"""The parts of a fleet of two hosts are killed and cut off at every step from a grant to a move: while a host asks and
is answered, while it declares, renews and withdraws, and while the Controller writes down.

Agents hold a lock of the kernel while they run, on both hosts the same: one that finds it taken says so. What carries
the calls is a stand-in for Ray; agentds, drop-ins, leases, Nodes, the Controller's core and its ledger are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import structlog

from agentd.fleet.core import Core
from agentd.fleet.definitions import Wanted, read_wanted
from agentd.fleet.errors import NoAnswerError
from agentd.fleet.folder import FleetFolder
from agentd.fleet.guarding import Guard
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import Book, HostRecord, Ledger
from agentd.fleet.messages import HostReport, Orders
from agentd.fleet.node import Node
from agentd.harness.registry import load_harnesses
from agentd.launch.census import Instance
from agentd.settings.context import load_context
from agentd.settings.sockets import runtime_directory
from tests.faults.forked import ForkedDaemon
from tests.faults.oracle import of_runs
from tests.faults.world import BrokenPromiseError, World

T = TypeVar("T")

TERMS = LeaseTerms(lease=1.5, window=0.5, notice=2.5, margin=2.5)
"""agentd sees a change at once; what it may take beside that is for a loaded machine."""

ONE, TWO = "one", "two"
_AT_A_HOST = ("read", "asking", "heard", "declaring", "followed", "removing", "removed", "withdrawing")
_AT_THE_CONTROLLER = ("keeping", "kept", "moving", "moved")
STEPS = (*_AT_A_HOST, *_AT_THE_CONTROLLER)
"""What may be the last that somebody did."""
VICTIMS = ("node", "controller", "agentd", "node and agentd", "host", "cut", "cut and agentd", "cut, without agentd")
_END_AGENTD = ("agentd", "cut, without agentd", "node and agentd", "host", "cut and agentd")
_OPERATIONS = ("more", "fewer", "change", "drain", "move", "nothing")
_MOST = 4
_REACHED = 1.0
"""Seconds in which a step that will be passed is passed."""
_BOUND = 60.0
_POLL = 0.02
_LOOK = 0.3


class Died(Exception):  # noqa: N818 (it is no error of anybody)
    """Somebody dies at this step."""


class _Folder(FleetFolder):
    """The drop-ins of a host, whose Node may die at each step."""

    def __init__(self, path: Path, passes: Callable[[str], None]) -> None:
        self._passes = passes
        super().__init__(path)

    def read(self) -> dict[str, str]:
        self._passes("read")
        return super().read()

    def follow(self, orders: Orders, asked: float, digests: Mapping[str, str]) -> None:
        super().follow(orders, asked, digests)
        self._passes("followed")

    def withdraw(self) -> int:
        self._passes("withdrawing")
        return super().withdraw()

    def _in_time(self, terms: LeaseTerms, asked: float) -> bool:
        self._passes("declaring")
        return super()._in_time(terms, asked)

    def _remove(self, name: str) -> None:
        self._passes("removing")
        super()._remove(name)
        self._passes("removed")


@dataclass(slots=True)
class Fault:
    """What is to happen, and when."""

    step: str
    victim: str
    host: str
    passes: int
    done: bool = False


@dataclass(eq=False)
class Fleet:
    """Two hosts, of which the first is the world's, with its own agents beside those of the fleet."""

    world: World
    daemons: dict[str, ForkedDaemon]
    marks: Path
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    core: Core | None = None
    ledger: Ledger | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    guards: list[asyncio.Task[None]] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)
    fault: Fault | None = None
    agents: int = 2
    revision: int = 0

    def begin(self) -> None:
        """Start what does not run, and mend what is cut."""
        self.cut.clear()
        if not self.guards:
            self.guards = [self.loop.create_task(self._watch(daemon)) for daemon in self.daemons.values()]
        for name, daemon in self.daemons.items():
            if not daemon.running:
                daemon.start()
            task = self.tasks.get(name)
            if task is None or task.done():
                self.run(self._start_node(name))
        if self.core is None:
            self._start_controller()

    def _start_controller(self) -> None:
        self.ledger = Ledger(self.world.daemon.folder / "fleet.db")
        book = self.ledger.begin()
        wanted = self.read(book.jcard or "")
        self.core = Core(book, self._keep, wanted, TERMS, time.monotonic())

    async def _start_node(self, name: str) -> None:
        await self._bury_node(name)
        daemon = self.daemons[name]
        folder = _Folder(daemon.drop_ins / "fleet", lambda step: self.passed(step, name))

        async def ask(report: HostReport) -> Orders | None:
            return await self._ask(name, report)

        self.nodes[name] = node = Node(HostRecord(name, 10), folder, daemon.api_socket, ask, settle=1.0)
        self.tasks[name] = asyncio.create_task(node.run())

    async def _watch(self, daemon: ForkedDaemon) -> None:
        """Be what agentd-fleet is beside the Node: it is not killed here, as it alone stands in for agentd."""
        runtime, folder, tmux = runtime_directory(daemon.tmux_socket), daemon.drop_ins / "fleet", daemon.tmux_socket
        instance = Instance.of(daemon.state, runtime)
        guard = Guard(folder, daemon.api_socket, tmux, runtime, instance, str, notice=TERMS.notice)
        while True:
            await asyncio.to_thread(guard.look)
            await asyncio.sleep(_LOOK)

    async def _bury_node(self, name: str) -> None:
        task, node = self.tasks.pop(name, None), self.nodes.pop(name, None)
        if task is not None and node is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Died):
                await task
            await node.close()

    def _bury_controller(self) -> None:
        self.core = None
        if self.ledger is not None:
            self.ledger.close()
            self.ledger = None

    async def _ask(self, name: str, report: HostReport) -> Orders | None:
        self.passed("asking", name)
        if name in self.cut or self.core is None:
            raise NoAnswerError("cut off")
        try:
            orders = self.core.hear(report, time.monotonic())
        except Died:
            self._bury_controller()
            raise NoAnswerError("the Controller died") from None
        self.passed("heard", name)
        if name in self.cut:
            raise NoAnswerError("cut off")
        return orders

    def _keep(self, before: Book, after: Book) -> None:
        assert self.ledger is not None
        moves = any(run != after.runs.get(name) for name, run in before.runs.items())
        self.passed("keeping")
        if moves:
            self.passed("moving")
        self.ledger.write(before, after)
        self.passed("kept")
        if moves:
            self.passed("moved")

    def run(self, work: Awaitable[T]) -> T:
        """Have the fleet live while something is done; else it stands still, and nothing of it is forked."""

        async def done() -> T:
            return await work

        return self.loop.run_until_complete(done())

    def close(self) -> None:
        """End what is left of it."""
        for guard in self.guards:
            guard.cancel()
        self.run(asyncio.gather(*self.guards, return_exceptions=True))
        for name in self.daemons:
            self.run(self._bury_node(name))
        self._bury_controller()
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()

    def passed(self, step: str, host: str | None = None) -> None:
        """Somebody is at a step; in whichever thread.

        Raises
        ------
        Died
            If he is no more.
        """
        fault = self.fault
        if fault is None or fault.done or fault.step != step or (host is not None and host != fault.host):
            return
        fault.passes -= 1
        if fault.passes > 0:
            return
        fault.done = True
        self._strike(fault)
        if (fault.victim in ("node", "node and agentd", "host") and host is not None) or (
            fault.victim == "controller" and host is None
        ):
            raise Died

    def _strike(self, fault: Fault) -> None:
        daemon = self.daemons[fault.host]
        match fault.victim:
            case "cut":
                self.cut.add(fault.host)
            case "cut and agentd":
                self.cut.add(fault.host)
            case _:
                pass
        if fault.victim in _END_AGENTD:
            os.kill(daemon.pid, signal.SIGKILL)

    async def suffer(self, fault: Fault) -> None:
        """Wait for a fault to happen, and bring it about where its step is not passed; then see it through."""
        await self.until(lambda: fault.done, _REACHED)
        if not fault.done:
            fault.done = True
            self._strike(fault)
        if fault.victim in _END_AGENTD:
            # On a loaded machine that takes a while, and one that still runs would not be started again.
            await self.until(lambda: not self.daemons[fault.host].running, _BOUND)
        match fault.victim:
            case "node" | "node and agentd":
                await self._bury_node(fault.host)
            case "controller":
                self._bury_controller()
            case "host":
                await self._bury_node(fault.host)
                await asyncio.to_thread(self._kill_all_of, fault.host)
            case "cut, without agentd":
                core = self.core
                await self.until(lambda: core is None or not core.book.hosts[fault.host].watched, _BOUND)
                self.cut.add(fault.host)
            case _:
                pass

    def _kill_all_of(self, host: str) -> None:
        daemon = self.daemons[host]
        server = daemon.tmux_pid()
        for pid in (*([] if server is None else [server]), *(relic.pid for relic in of_runs(str(daemon.bin)))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def until(self, probe: Callable[[], object], seconds: float) -> bool:
        """Wait for a condition, and say whether it came true."""
        end = time.monotonic() + seconds
        while not probe():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(_POLL)
        return True

    def read(self, text: str) -> Wanted:
        """Read a jcard."""
        harnesses, home = load_harnesses().harnesses, Path("/root")
        return read_wanted(text, "f.toml", load_context(Path("/f.toml"), "root", home, harnesses, home), TERMS)

    def names(self) -> set[str]:
        """The agents that are wished for."""
        return {f"f{number}" for number in range(self.agents)}

    def apply(self) -> None:
        """Hand the Controller what is wished."""
        if self.core is None:
            return
        text = "".join(self._table(name) for name in sorted(self.names()))
        with self._may_die():
            self.core.apply(text, "fleet.toml", self.read(text), 0.0, time.monotonic())

    @contextlib.contextmanager
    def _may_die(self) -> Iterator[None]:
        try:
            yield
        except Died:
            self._bury_controller()

    def _table(self, name: str) -> str:
        lock = self.marks / f"{name}.lock"
        script = (
            f"exec 9>>{lock}; flock -n 9 || echo {name} $AGENTD_RUN_ID >>{self.marks}/twice; trap exit INT TERM; "
            "while :; do sleep 0.2 9>&-; done"
        )
        fields = {"name": name, "harness": "custom", "grace_period": "1s", "restart": "always", "restart_delay": "20ms"}
        lines = [f'{key} = "{value}"' for key, value in fields.items()]
        lines += [f'env = {{ REVISION = "{self.revision}" }}', f"command = ['sh', '-c', '''{script}''']"]
        return "\n".join(["[[agents]]", *lines, ""])

    def operate(self, operation: str, host: str) -> None:
        """Change something."""
        core, now = self.core, time.monotonic()
        if core is None:
            return
        with self._may_die():
            match operation:
                case "more":
                    self.agents = min(_MOST, self.agents + 1)
                case "fewer":
                    self.agents = max(1, self.agents - 1)
                case "change":
                    self.revision += 1
                case "drain":
                    core.drain(host, draining=True, now=now)
                case "move":
                    core.move({run.agent: host for run in core.book.runs.values() if run.host == host}, now)
                case _:
                    pass
        self.apply()

    def amiss(self) -> str | None:
        """What is not as it must be once nothing is broken any more."""
        core = self.core
        if core is None:
            return "there is no Controller"
        runs = {name: run.host for name, run in core.book.runs.items() if not run.leaving}
        if runs.keys() != self.names() or len(core.book.runs) != len(runs):
            return f"wished for are {sorted(self.names())}, the ledger has {sorted(core.book.runs.values(), key=str)}"
        for host, daemon in self.daemons.items():
            try:
                shown = daemon.agents()
            except (OSError, AssertionError, ValueError) as error:
                return f"{host}: {error!r}"
            running = {name for name, each in shown.items() if name.startswith("f") and each["state"] == "running"}
            if running != {name for name, at in runs.items() if at == host}:
                return f"{host} runs {sorted(running)}, the ledger says {runs}"
        return None

    def twice(self) -> list[str]:
        """Runs that began while another of the same agent lived."""
        path = self.marks / "twice"
        return path.read_text().splitlines() if path.exists() else []

    async def converge(self) -> None:
        """Wait until all is as it is wished.

        Raises
        ------
        BrokenPromiseError
            If it is not in time, or an agent ran twice.
        """
        began, problem = time.monotonic(), await asyncio.to_thread(self.amiss)
        while problem is not None and not self.twice():
            if time.monotonic() > began + _BOUND:
                raise BrokenPromiseError(f"the fleet, after {_BOUND:g} s: {problem}\n{self.explain()}")
            await asyncio.sleep(_POLL)
            problem = await asyncio.to_thread(self.amiss)
        if self.twice():
            raise BrokenPromiseError(f"two runs at once: {self.twice()}\n{self.explain()}")
        self.world.slowest = max(self.world.slowest, time.monotonic() - began)

    def explain(self) -> str:
        """What it looks like, for a failure message."""
        book = None if self.core is None else (self.core.book.hosts, self.core.book.runs)
        logs = [f"--- {name}\n{daemon.log_text()[-4000:]}" for name, daemon in self.daemons.items()]
        return "\n".join([str(self.fault), str(book), *logs])


_FLEETS: WeakKeyDictionary[World, Fleet] = WeakKeyDictionary()


def lacks_flock() -> str | None:
    """Why agents cannot hold a lock."""
    return None if shutil.which("flock") else "needs flock"


def prepare_fleet(world: World) -> None:
    """Make another host beside the world's own, and a fleet of the two."""
    # What the Nodes say in this process.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = world.daemon.folder / "two"
    folder.mkdir()
    other = ForkedDaemon(folder)
    other.write_jcard("")
    marks = folder / "marks"
    marks.mkdir()
    fleet = _FLEETS[world] = Fleet(world, {ONE: world.daemon, TWO: other}, marks)
    world.foreign = lambda name: name.startswith("f")
    world.before_the_end.append(fleet.close)
    world.others.append(other)


def killed_in_a_fleet(world: World) -> str:
    """Break a part of a fleet at a step, let that last for a moment or longer than the lease, and mend it."""
    fleet, chance = _FLEETS[world], world.chance
    fleet.fault = None
    fleet.begin()
    core = fleet.core
    assert core is not None
    for host in core.book.hosts:
        core.drain(host, draining=False, now=time.monotonic())
    fleet.apply()
    fleet.run(fleet.converge())
    step, victim = chance.choice(STEPS), chance.choice(VICTIMS)
    # The world's own agents are to outlive everything.
    host = TWO if victim == "host" else chance.choice((ONE, TWO))
    fleet.fault = fault = Fault(step, victim, host, chance.choice((1, 1, 2, 5)))
    operation, long = chance.choice(_OPERATIONS), chance.random() < 0.3
    fleet.operate(operation, chance.choice((ONE, TWO)))
    fleet.run(fleet.suffer(fault))
    # Long enough for what ran there to have ended, and to be launched elsewhere.
    fleet.run(fleet.until(lambda: bool(fleet.twice()), TERMS.ended_by(0.0, 1.0) + 2 if long else 0.3))
    fleet.begin()
    fleet.apply()
    fleet.run(fleet.converge())
    world.converge()
    return f"{victim} at {step}, {operation}{', long' if long else ''}"
