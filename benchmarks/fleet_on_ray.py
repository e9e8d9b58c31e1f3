"""A fleet of four hosts on Ray, all on this machine, with agents that run: ``python -m benchmarks.fleet_on_ray``.

From `apply` until the last agent's first act, until a change of all has them launched again, and what Controller, Nodes
and Ray take meanwhile and while idle. Beside it in the same run one agentd with as many agents, without Ray. It needs
Ray (``scripts/bootstrap fleet``), as many pseudo-terminals as agents, and 0.4 GB for each node of Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.machine import check_limits, cpu_seconds, load, resident_megabytes
from benchmarks.rollcall import RollCall
from benchmarks.subject import PATIENCE, Subject, table
from tests.support.fleet_host import Host
from tests.support.ports import two_ports

_HOSTS = 4
_CONTROLLER, _NODE = "ray::ControllerActor", "ray::NodeActor"


@dataclass(slots=True)
class Used:
    """CPU seconds so far, by who used them."""

    agentds: float
    controller: float = 0.0
    nodes: float = 0.0
    ray: float = 0.0
    """What Ray itself runs on all hosts."""

    def since(self, before: Used) -> Used:
        """What was used after `before`."""
        return Used(
            self.agentds - before.agentds, self.controller - before.controller, self.nodes - before.nodes,
            self.ray - before.ray,
        )  # fmt: skip


@dataclass(slots=True)
class Fleet:
    """Hosts on loopback; with one agentd alone it is the reference."""

    subjects: list[Subject]
    hosts: list[Host] = field(default_factory=list)

    def declare(self, jcard: str) -> None:
        """Have it run what a jcard says."""
        if self.hosts:
            self.hosts[0].ask("POST", "/v1/fleet/apply", {"jcard": jcard, "path": "fleet.toml"})
        else:
            self.subjects[0].daemon.write_jcard(jcard)

    def used(self) -> Used:
        """CPU so far."""
        used = Used(sum(cpu_seconds(each.daemon.pid) for each in self.subjects))
        for process in (each for host in self.hosts for each in host.processes):
            with contextlib.suppress(psutil.Error, OSError):
                name, seconds = process.cmdline()[:1], cpu_seconds(process.pid)
                if name == [_CONTROLLER]:
                    used.controller += seconds
                elif name == [_NODE]:
                    used.nodes += seconds
                else:
                    used.ray += seconds
        return used

    def megabytes(self, name: str) -> float:
        """What one process of that name holds, of all the most."""
        everyone = (each for host in self.hosts for each in host.processes)
        return max(resident_megabytes(each.pid) for each in everyone if each.cmdline()[:1] == [name])


@contextlib.contextmanager
def agentds(count: int, base: Path, roll: RollCall) -> Iterator[list[Subject]]:
    """So many agentds, each with a folder of its own."""
    subjects = []
    try:
        for number in range(count):
            folder = base / f"{count}{number}"
            folder.mkdir()
            subjects.append(Subject(folder, roll))
            subjects[-1].start("--transcripts=off")
        yield subjects
    finally:
        for subject in subjects:
            subject.daemon.signal(15)
        for subject in subjects:
            subject.daemon.wait_exit(PATIENCE)
            subject.daemon.stopped_cleanly = True
            subject.daemon.close()


@contextlib.contextmanager
def fleet(base: Path, roll: RollCall, slots: int) -> Iterator[Fleet]:
    """Four hosts."""
    with agentds(_HOSTS, base, roll) as subjects, two_ports() as port:
        hosts = [Host(f"h{at}", f"127.0.0.{at + 2}", each.daemon) for at, each in enumerate(subjects)]
        try:
            for host in hosts:
                host.slots = slots
                host.start(*(("head", "--port", str(port)) if host is hosts[0] else ("join", f"127.0.0.2:{port}")))
                host.wait_ready()
            subjects[0].daemon.wait_for(lambda: len(hosts[0].ask("GET", "/v1/fleet/hosts")) == _HOSTS, PATIENCE)
            yield Fleet(subjects, hosts)
        finally:
            for host in reversed(hosts):
                host.stop()


def measure(made: Fleet, roll: RollCall, agents: int, rounds: int, idle: float) -> list[str]:
    """Launch all, change all so often, and look at it while idle; gives rows."""
    rows = []

    def timed(what: str, revision: int) -> None:
        jcard = table("w", roll.command, replicas=agents, more=[f'env = {{ REVISION = "{revision}" }}'])
        before, begun = made.used(), time.perf_counter()
        made.declare(jcard)
        taken = max(report.seen for report in roll.wait(agents, PATIENCE)) - begun
        wait(lambda: sum(each.daemon.health()["agents"]["running"] for each in made.subjects) == agents)
        rows.append(row(what, f"{taken:.1f}", made.used().since(before), 1.0))

    timed("all run", 0)
    for number in range(rounds):
        timed("a change of all has launched them again", number + 1)
    time.sleep(5)
    before = made.used()
    time.sleep(idle)
    rows.append(row("idle, a second", "", made.used().since(before), idle))
    return rows


def wait(probe: Callable[[], bool]) -> None:
    """Wait for what is asked for."""
    end = time.monotonic() + PATIENCE
    while not probe():
        if time.monotonic() > end:
            raise TimeoutError(f"not after {PATIENCE:g} s")
        time.sleep(0.2)


def row(what: str, taken: str, used: Used, seconds: float) -> str:
    """Write a row of the table."""
    cells = (used.agentds, used.controller, used.nodes, used.ray)
    return f"{what} | {taken} | " + " | ".join(f"{each / seconds:.3f}" for each in cells) + " |"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=500, help="agents to run (default: 500)")
    parser.add_argument("--rounds", type=int, default=2, help="times that all are changed (default: 2)")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds that idleness is measured for (default: 20)")
    options = parser.parse_args()
    check_limits(options.agents)
    print(f"{options.agents} agents, as {pwd.getpwuid(os.geteuid()).pw_name}; load average before: {load()}")
    print("| | after [s] | CPU agentds [s] | Controller [s] | Nodes [s] | Ray [s] |\n|" + " --- |" * 6, flush=True)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="a-", dir="/dev/shm")))
        roll = stack.enter_context(RollCall(base))
        figures = (options.agents, options.rounds, options.idle)
        with agentds(1, base, roll) as subjects:
            for each in measure(Fleet(subjects), roll, *figures):
                print(f"| one agentd, {each}", flush=True)
        with fleet(base, roll, 2 * options.agents // _HOSTS) as made:
            for each in measure(made, roll, *figures):
                print(f"| {_HOSTS} hosts, {each}", flush=True)
            sizes = made.megabytes(_CONTROLLER), made.megabytes(_NODE)
            print(f"RSS: Controller {sizes[0]:.0f} MB, a Node {sizes[1]:.0f} MB; load average after: {load()}")


if __name__ == "__main__":
    main()
