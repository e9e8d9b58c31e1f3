"""The measures that need all agents to run: what one more costs, an exit, a poll, and doing nothing."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from agentd.recording.metrics.answer import LOOK_AFTER
from benchmarks.effort import Effort
from benchmarks.floor import Floor
from benchmarks.machine import cpu_seconds, fork_marks
from benchmarks.results import Result
from benchmarks.subject import PATIENCE, Subject, SubjectError, get, table
from tests.support.daemon import UnixConnection, program

_RESTLESS_SHARE = 10
"""One in so many agents restarts during the second measurement of the API."""
_RESTLESS_AGENTS = 30
"""So many do during the first, however many there are."""
_RESTLESS = ('restart = "always"', 'restart_delay = "3s"', 'restart_delay_max = "3s"')
_POLLS_PER_SECOND = 50


class Steady:
    """An agentd and a floor with the same number of agents, which run while everything else is measured."""

    def __init__(self, subject: Subject, floor: Floor, count: int, effort: Effort) -> None:
        self._subject = subject
        self._floor = floor
        self._count = count
        self._effort = effort
        self._restless = max(1, min(_RESTLESS_AGENTS, count // _RESTLESS_SHARE))
        self._crowd = max(0, count // _RESTLESS_SHARE - self._restless)
        self._calm = count - self._restless - self._crowd
        self._extra: list[str] = []
        floor.start(count)
        subject.launch(self._jcard(), count)
        subject.settle()

    def _jcard(self, restless: int = 0) -> str:
        roll = self._subject.roll
        tables = [table("agent", roll.command, replicas=self._calm)]
        for name, count in (("restless", self._restless), ("crowd", self._crowd)):
            if restless > 0:
                tables.append(table(name, roll.instant_command, replicas=count, more=_RESTLESS))
            elif count:
                tables.append(table(name, roll.command, replicas=count))
            restless -= count
        return "".join((*tables, *self._extra))

    def idle(self) -> Iterator[Result]:
        """CPU and forks while nothing happens."""
        sides = {"agentd": self._subject.pids, "floor": self._floor.pids}
        every = [pid for pids in sides.values() for pid in pids]
        time.sleep(2)
        used, marks, begun = {pid: cpu_seconds(pid) for pid in every}, fork_marks(every), time.perf_counter()
        time.sleep(self._effort.idle_seconds)
        seconds = time.perf_counter() - begun
        after = fork_marks(every)
        percents = {pid: 100 * (cpu_seconds(pid) - used[pid]) / seconds for pid in every}
        note = "agentd {:.2f}, server {:.2f}, client {:.2f}".format(*(percents[pid] for pid in self._subject.pids))
        cpu = {side: [sum(percents[pid] for pid in pids)] for side, pids in sides.items()}
        forks = {side: [float(sum(marks[pid] != after[pid] for pid in pids))] for side, pids in sides.items()}
        yield Result("idle", self._count, cpu["agentd"], cpu["floor"], f"over {seconds:.0f} s: {note}")
        yield Result("forks", self._count, forks["agentd"], forks["floor"])

    def add(self) -> Iterator[Result]:
        """One more agent, from the write to the first line of its process."""
        agentd, floor = [], []
        for number in range(self._effort.additions):
            self._extra.append(table(f"extra-{number}", self._subject.roll.command))
            agentd.append(1000 * self._subject.launch(self._jcard(), 1))
            self._subject.settle()
            floor.append(1000 * self._floor.launch([f"extra-{number}"]))
            # The moments of writing must not fall into step with agentd's own.
            time.sleep(random.uniform(0.2, 0.5))
        yield Result("add", self._count, agentd, floor)

    def status(self) -> Iterator[Result]:
        """``agentctl status`` as a whole process, and an empty Python process."""
        daemon = self._subject.daemon
        command = [program("agentctl"), f"--api-socket={daemon.api_socket}", "status"]
        agentd, floor = [], []
        for _ in range(self._effort.commands):
            agentd.append(_milliseconds(command, daemon.environment()))
            floor.append(_milliseconds([sys.executable, "-c", "pass"], daemon.environment()))
        yield Result("status", self._count, agentd, floor)

    def metrics(self) -> Iterator[Result]:
        """What a scraper waits for, with and without a look at all processes, and what such a look costs."""
        connection = self._subject.connect()
        body = get(connection, "/metrics")
        looks: list[float] = []
        costs: list[float] = []
        agentd: list[float] = []
        with _echo(body, self._subject.daemon.folder) as echo:
            for _ in range(self._effort.looks):
                time.sleep(LOOK_AFTER)
                looks.append(_answered(connection))
                time.sleep(1)
                costs.append(100 * _sample(get(connection, "/metrics"), "agentd_usage_scan_seconds") / LOOK_AFTER)
                agentd += [_answered(connection) for _ in range(self._effort.commands)]
            floor = [_answered(echo) for _ in range(self._effort.commands)]
        connection.close()
        note = f"{len(body)} bytes, {len(list(Path('/proc').glob('[0-9]*')))} processes"
        yield Result("metrics", self._count, agentd, floor, note)
        yield Result("metrics, look", self._count, looks, floor)
        yield Result("metrics, cost", self._count, costs, [0.0])

    def api(self) -> Iterator[Result]:
        """All agents over a connection that stays open, while some restart every 3 s."""
        yield self._api("api", self._restless, f"restless-{self._restless - 1}")
        if self._crowd:
            yield self._api("api, crowd", self._restless + self._crowd, f"crowd-{self._crowd - 1}")

    def _api(self, measure: str, restless: int, last: str) -> Result:
        daemon = self._subject.daemon
        daemon.write_jcard(self._jcard(restless))

        def restarted_last() -> bool:
            agent = daemon.agent(last)
            return agent is not None and agent["restarts"] > 0

        daemon.wait_for(restarted_last, PATIENCE, what="agents restart")
        connection = self._subject.connect()
        with _echo(get(connection, "/v1/agents"), daemon.folder) as echo:
            begun = sum(agent["restarts"] for agent in daemon.agents().values())
            agentd, floor = _polled(connection, echo, self._effort.api_seconds)
            restarts = sum(agent["restarts"] for agent in daemon.agents().values()) - begun
        note = f"median {median(agentd):.2f} ms, {len(agentd)} polls, {restarts} restarts meanwhile"
        connection.close()
        self._subject.launch(self._jcard(), restless)
        self._subject.settle()
        return Result(measure, self._count, agentd, floor, note)

    def exit(self) -> Iterator[Result]:
        """From SIGKILL or an agent's own exit until a tight poll shows it."""
        connection = self._subject.connect()
        agentd, floor, polls = [], [], []
        names = random.sample([name for name in self._subject.reports if name.startswith("agent-")], self._effort.exits)
        bare = random.sample(list(self._floor.reports), self._effort.exits)
        for number, (name, other) in enumerate(zip(names, bare, strict=True)):
            report = self._subject.reports.pop(name)
            how = signal.SIGKILL if number % 2 else signal.SIGUSR1
            polls.append(_poll(connection, name)[1])
            agentd.append(_until_shown(connection, name, report.pid, how))
            floor.append(_until_pidfd(self._floor.reports.pop(other).pid, how))
        connection.close()
        yield Result("exit", self._count, agentd, floor, f"one poll takes {median(polls):.2f} ms (median)")


def _milliseconds(command: list[str], environment: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return 1000 * (time.perf_counter() - begun)


def _answered(connection: UnixConnection) -> float:
    """Milliseconds for one answer."""
    begun = time.perf_counter()
    get(connection, "/metrics")
    return 1000 * (time.perf_counter() - begun)


def _sample(text: bytes, name: str) -> float:
    """The value of a metric without labels."""
    lines = (line.split() for line in text.decode().splitlines() if line.startswith(f"{name} "))
    return float(next(lines)[1])


def _poll(connection: UnixConnection, name: str) -> tuple[bool, float]:
    """Whether the API shows an agent as running, and the milliseconds that asking took."""
    begun = time.perf_counter()
    body = get(connection, f"/v1/agents/{name}")
    return b'"running":true' in body, 1000 * (time.perf_counter() - begun)


def _until_shown(connection: UnixConnection, name: str, pid: int, number: signal.Signals) -> float:
    begun = time.perf_counter()
    os.kill(pid, number)
    while _poll(connection, name)[0]:
        if time.perf_counter() > begun + PATIENCE:
            raise SubjectError(f"the API still shows {name} as running")
    return 1000 * (time.perf_counter() - begun)


def _until_pidfd(pid: int, number: signal.Signals) -> float:
    descriptor = os.pidfd_open(pid)
    try:
        begun = time.perf_counter()
        os.kill(pid, number)
        select.select([descriptor], [], [], PATIENCE)
        return 1000 * (time.perf_counter() - begun)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _echo(body: bytes, folder: Path) -> Iterator[UnixConnection]:
    """A connection to a bare server that answers with these bytes."""
    socket, file = folder / "echo.sock", folder / "echo.json"
    file.write_bytes(body)
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.echo", socket, file], start_new_session=True)
    try:
        connection = UnixConnection(socket, timeout=PATIENCE)
        deadline = time.perf_counter() + PATIENCE
        while True:
            try:
                connection.connect()
                break
            except OSError:
                if server.poll() is not None or time.perf_counter() > deadline:
                    raise
                time.sleep(0.01)
        with contextlib.closing(connection):
            yield connection
    finally:
        server.kill()
        server.wait()


def _polled(connection: UnixConnection, echo: UnixConnection, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds of each GET of all agents, and of the same from the bare server, at a steady pace."""
    samples: tuple[list[float], list[float]] = [], []
    begun = time.perf_counter()
    for number in range(int(seconds * _POLLS_PER_SECOND)):
        time.sleep(max(0.0, begun + number / _POLLS_PER_SECOND - time.perf_counter()))
        for kept, each in zip(samples, (connection, echo), strict=True):
            asked = time.perf_counter()
            get(each, "/v1/agents")
            kept.append(1000 * (time.perf_counter() - asked))
    return samples
