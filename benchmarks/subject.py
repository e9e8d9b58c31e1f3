"""agentd as the benchmark sees it: its command line, its files, its socket, and /proc."""

from __future__ import annotations

import http
import json
import os
import pwd
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import children, cpu_seconds, exists, parent, thread_cpu_seconds
from benchmarks.rollcall import Report, RollCall
from tests.support.daemon import Daemon, UnixConnection

PATIENCE = 120.0
"""Seconds after which a measurement has failed; only a broken daemon takes them."""

EMPTY = "agents = []\n"

_INHERITED_FROM_TMUX = ("TERM", "PWD", "OLDPWD", "SHLVL", "_")


class SubjectError(RuntimeError):
    """agentd did not do what is to be measured."""


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds, by who used them."""

    supervisor: float
    """agentd, or the floor's loop."""
    tmux: float
    shells: float
    """Launchers and agents."""

    @property
    def total(self) -> float:
        return self.supervisor + self.tmux + self.shells

    def __str__(self) -> str:
        """As a sum, in CPU seconds."""
        parts = f"supervisor {self.supervisor:.2f} + tmux {self.tmux:.2f} + shells {self.shells:.2f}"
        return f"{parts} = {self.total:.2f} s of CPU"

    def since(self, before: Costs) -> Costs:
        """What was used after `before`."""
        return Costs(self.supervisor - before.supervisor, self.tmux - before.tmux, self.shells - before.shells)


def shell_seconds(reports: Iterable[Report]) -> float:
    """CPU of agents and their launchers since they exist."""
    return sum(thread_cpu_seconds(pid) for report in reports for pid in (report.pid, parent(report.pid)))


def table(name: str, command: Sequence[str], *, replicas: int | None = None, more: Sequence[str] = ()) -> str:
    """One ``[[agents]]`` table; `more` are lines of TOML."""
    count = () if replicas is None else (f"replicas = {replicas}",)
    argv = f"command = {json.dumps(list(command))}"
    return "\n".join(("[[agents]]", f'name = "{name}"', 'harness = "custom"', argv, *count, *more)) + "\n\n"


class Subject:
    """An agentd with folders, sockets and a HOME of its own."""

    def __init__(self, folder: Path, roll: RollCall) -> None:
        self.daemon = Daemon(folder)
        self.roll = roll
        self.reports: dict[str, Report] = {}
        self._tmux_pid = 0

    def start(self, *flags: str) -> None:
        """Start agentd with an empty list of agents, and wait until it has taken it."""
        self.daemon.write_jcard(EMPTY)
        self.daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}", "--log-format=json", *flags)
        self.daemon.wait_for(lambda: self.daemon.health()["config"]["valid"], PATIENCE, what="the jcard is taken")
        pid = self.daemon.tmux_pid()
        if pid is None:
            raise SubjectError("expected agentd to have started a tmux server, found none")
        self._tmux_pid = pid

    @property
    def tmux_pid(self) -> int:
        """Of the agents' tmux server."""
        return self._tmux_pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Of agentd, its tmux server, and what agentd itself has started: its control client."""
        return self.daemon.pid, self._tmux_pid, *children(self.daemon.pid)

    def launch(self, jcard: str, count: int) -> float:
        """Write a jcard; seconds from just before until that many more agents run."""
        begun = time.perf_counter()
        self.daemon.write_jcard(jcard)
        reports = self.roll.wait(count, PATIENCE)
        self.reports |= {report.name: report for report in reports}
        return max(report.seen for report in reports) - begun

    def costs(self) -> Costs:
        """CPU that agentd, tmux and the agents have used so far."""
        daemon, *tmux = self.pids
        return Costs(cpu_seconds(daemon), sum(map(cpu_seconds, tmux)), shell_seconds(self.reports.values()))

    def settle(self) -> None:
        """Wait until the API shows every agent as running."""
        expected = len(self.reports)
        self.daemon.wait_for(
            lambda: self.daemon.health()["agents"]["running"] == expected,
            PATIENCE,
            what=f"the API shows {expected} agents as running",
        )

    def connect(self) -> UnixConnection:
        """A connection to the API for many requests."""
        connection = UnixConnection(self.daemon.api_socket, timeout=PATIENCE)
        connection.connect()
        return connection

    def stop(self) -> float:
        """SIGTERM; seconds until agentd has exited and nothing of it is left."""
        pids = [self._tmux_pid, *(report.pid for report in self.reports.values())]
        begun = time.perf_counter()
        self.daemon.signal(signal.SIGTERM)
        status = self.daemon.wait_exit(PATIENCE)
        while any(map(exists, pids)):
            if time.perf_counter() > begun + PATIENCE:
                raise SubjectError(f"{sum(map(exists, pids))} processes outlive agentd")
            time.sleep(0.002)
        gone = time.perf_counter()
        if status != 0:
            raise SubjectError(f"agentd ended with status {status}\n{self.daemon.explain()}")
        self.daemon.stopped_cleanly = True
        self.reports.clear()
        return gone - begun

    def environment_of(self, name: str) -> dict[str, str]:
        """The environment that an agent was started with, without what tmux and sh put there."""
        entries = Path(f"/proc/{self.reports[name].pid}/environ").read_bytes().decode().split("\0")
        pairs = (entry.partition("=")[::2] for entry in entries if entry)
        return {key: value for key, value in pairs if key not in _INHERITED_FROM_TMUX}


def get(connection: UnixConnection, path: str) -> bytes:
    """Get a document over a connection that stays open."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise SubjectError(f"GET {path}: {answer.status} {body!r}")
    return body
