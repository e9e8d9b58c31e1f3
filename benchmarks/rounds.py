"""The measures that start and stop everything: time, CPU, memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

from benchmarks.machine import resident_megabytes
from benchmarks.results import Result
from benchmarks.running import running_agentd, running_floor, say
from benchmarks.subject import Costs, Subject, get, table

_LIBRARIES = "asyncio, aiohttp.web, pydantic, structlog, tomlkit, watchfiles"

_LIBRARIES_RSS = f"""
import {_LIBRARIES}
import pathlib
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6)
"""


def _replicas(subject: Subject, count: int) -> str:
    return table("agent", subject.roll.command, replicas=count)


def _tables(subject: Subject, count: int) -> str:
    return "".join(table(f"agent-{number}", subject.roll.command) for number in range(count))


class Rounds:
    """Start everything and stop everything, agentd and the floor in turn."""

    def __init__(self, count: int, rounds: int, environment: Mapping[str, str]) -> None:
        self._count = count
        self._environment = environment
        self._starts: dict[str, list[tuple[float, Costs]]] = {"floor": [], "replicas": [], "tables": []}
        self._stops: dict[str, list[float]] = {"floor": [], "agentd": []}
        self._empty: list[float] = []
        self._full: list[float] = []
        for number in range(rounds):
            say(f"{count} agents: start and stop, round {number + 1} of {rounds}, floor and agentd in turn")
            self._floor()
            self._agentd("replicas", _replicas)
            self._agentd("tables", _tables)

    def _floor(self) -> None:
        with running_floor(self._environment) as floor:
            self._starts["floor"].append(floor.start(self._count))
            self._stops["floor"].append(floor.stop())

    def _agentd(self, kind: str, jcard: Callable[[Subject, int], str]) -> None:
        with running_agentd() as subject:
            self._empty.append(resident_megabytes(subject.daemon.pid))
            before = subject.costs()
            seconds = subject.launch(jcard(subject, self._count), self._count)
            self._starts[kind].append((seconds, subject.costs().since(before)))
            subject.settle()
            get(subject.connect(), "/v1/agents")
            self._full.append(resident_megabytes(subject.daemon.pid))
            self._stops["agentd"].append(subject.stop())

    def results(self) -> Iterator[Result]:
        """Everything that the rounds told."""
        floor = [seconds for seconds, _ in self._starts["floor"]]
        for kind in ("replicas", "tables"):
            note = f"{self._cheapest(kind)}; floor {self._cheapest('floor')}"
            yield Result(f"start, {kind}", self._count, [seconds for seconds, _ in self._starts[kind]], floor, note)
        yield Result("stop", self._count, self._stops["agentd"], self._stops["floor"])
        libraries = [float(subprocess.check_output([sys.executable, "-c", _LIBRARIES_RSS]))]
        yield Result("memory, empty", self._count, self._empty, libraries)
        yield Result("memory, all", self._count, self._full, libraries)

    def _cheapest(self, kind: str) -> str:
        """What a start cost at least: contention makes the same work dearer."""
        return str(min((costs for _, costs in self._starts[kind]), key=lambda costs: costs.total))
