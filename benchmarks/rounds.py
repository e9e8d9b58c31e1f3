"""The measures that start and stop everything: time, CPU, memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from statistics import median

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


_STARTS: Mapping[str, tuple[str, Callable[[Subject, int], str], tuple[str, ...]]] = {
    "start, replicas": ("floor", _replicas, ("--transcripts=off",)),
    "start, tables": ("floor", _tables, ("--transcripts=off",)),
    "start, recorded": ("recorded floor", _replicas, ()),
}
"""By measure: the floor it is held against, the jcard, and flags of agentd."""


class Rounds:
    """Start everything and stop everything, agentd and the floor in turn."""

    def __init__(self, count: int, rounds: int, environment: Mapping[str, str]) -> None:
        self._count = count
        self._environment = environment
        self._starts: dict[str, list[tuple[float, Costs]]] = {
            name: [] for name in ("floor", "recorded floor", *_STARTS)
        }
        self._stops: dict[str, list[float]] = {"floor": [], "agentd": []}
        self._empty: list[float] = []
        self._full: list[float] = []
        for number in range(rounds):
            say(f"{count} agents: start and stop, round {number + 1} of {rounds}, floors and agentd in turn")
            self._floor("floor", recorded=False)
            for measure in _STARTS:
                if measure == "start, recorded":
                    self._floor("recorded floor", recorded=True)
                self._agentd(measure)

    def _floor(self, kind: str, *, recorded: bool) -> None:
        with running_floor(self._environment) as floor:
            self._starts[kind].append(floor.start(self._count, recorded=recorded))
            stopped = floor.stop()
            if recorded:
                # As agentd is stopped and measured by default.
                self._stops["floor"].append(stopped)

    def _agentd(self, measure: str) -> None:
        _, jcard, flags = _STARTS[measure]
        with running_agentd(*flags) as subject:
            empty = resident_megabytes(subject.daemon.pid)
            before = subject.costs()
            seconds = subject.launch(jcard(subject, self._count), self._count)
            self._starts[measure].append((seconds, subject.costs().since(before)))
            subject.settle()
            get(subject.connect(), "/v1/agents")
            full = resident_megabytes(subject.daemon.pid)
            stopped = subject.stop()
            if not flags:
                self._empty.append(empty)
                self._full.append(full)
                self._stops["agentd"].append(stopped)

    def results(self) -> Iterator[Result]:
        """Everything that the rounds told."""
        bare = self._seconds("floor")
        for measure, (floor, _, _) in _STARTS.items():
            seconds = self._seconds(measure)
            note = f"{self._cheapest(measure)}; {floor} {self._cheapest(floor)}"
            if floor != "floor":
                note += f"; {median(seconds) / median(bare):.2f} x the floor that records nothing"
            yield Result(measure, self._count, seconds, self._seconds(floor), note)
        yield Result("stop", self._count, self._stops["agentd"], self._stops["floor"])
        libraries = [float(subprocess.check_output([sys.executable, "-c", _LIBRARIES_RSS]))]
        yield Result("memory, empty", self._count, self._empty, libraries)
        yield Result("memory, all", self._count, self._full, libraries)

    def _seconds(self, kind: str) -> list[float]:
        return [seconds for seconds, _ in self._starts[kind]]

    def _cheapest(self, kind: str) -> str:
        """What a start cost at least: contention makes the same work dearer."""
        return str(min((costs for _, costs in self._starts[kind]), key=lambda costs: costs.total))
