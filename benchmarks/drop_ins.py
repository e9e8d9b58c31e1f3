"""What 1000 drop-ins of one agent each cost, beside the same agents in one jcard.

From the start of agentd until all agents run, from the write of one file until its agent runs, and idleness.
``python -m benchmarks.drop_ins [--agents N] [--edits N] [--seconds N]``.
"""

from __future__ import annotations

import argparse
import os
import pwd
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import cpu_seconds
from benchmarks.rollcall import RollCall
from benchmarks.subject import EMPTY, Subject, table

_LEASE = '[drop_in]\nlease = "1h"\n\n'


@dataclass(frozen=True, slots=True)
class Way:
    """A way to declare so many agents."""

    name: str
    declare: Callable[[Subject, int], None]
    add: Callable[[Subject, int, str], None]
    """Declares one more, of this name, beside so many."""


def _jcard(subject: Subject, count: int, more: str = "") -> None:
    tables = "".join(table(f"agent-{number}", subject.roll.command) for number in range(count))
    subject.daemon.write_jcard(tables + more)


def _add_to_jcard(subject: Subject, count: int, name: str) -> None:
    _jcard(subject, count, table(name, subject.roll.command))


def _drop_ins(subject: Subject, count: int) -> None:
    subject.daemon.write_jcard(EMPTY)
    for number in range(count):
        _drop_in(subject, count, f"agent-{number}")


def _drop_in(subject: Subject, _count: int, name: str) -> None:
    subject.daemon.write_drop_in(f"{name}.toml", table(name, subject.roll.command))


def _leased(subject: Subject, count: int) -> None:
    subject.daemon.write_jcard(EMPTY)
    for number in range(count):
        text = _LEASE + table(f"agent-{number}", subject.roll.command)
        subject.daemon.write_drop_in(f"team/agent-{number}.toml", text)


WAYS = (
    Way("one jcard", _jcard, _add_to_jcard),
    Way("drop-ins", _drop_ins, _drop_in),
    Way("drop-ins with a lease, in a subfolder", _leased, _drop_in),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one way; CPU is that of agentd alone."""

    start: float
    """Seconds."""
    start_cpu: float
    additions: list[float]
    """Milliseconds each."""
    addition_cpu: float
    """Milliseconds for one."""
    idle: float
    """Per cent of a core."""

    def __str__(self) -> str:
        """Render as cells of a table."""
        added = f"{median(self.additions):.0f} (worst {max(self.additions):.0f}) | {self.addition_cpu:.0f}"
        return f"{self.start:.2f} | {self.start_cpu:.2f} | {added} | {self.idle:.2f}"


def measure(way: Way, arguments: argparse.Namespace) -> Figures:
    """Measure one way."""
    count = arguments.agents
    with tempfile.TemporaryDirectory(prefix="agentd-", dir="/dev/shm") as name, RollCall(Path(name)) as roll:
        folder = Path(name) / "d"
        folder.mkdir()
        subject = Subject(folder, roll)
        try:
            way.declare(subject, count)
            begun = time.perf_counter()
            subject.daemon.start(f"--agent-user={pwd.getpwuid(os.geteuid()).pw_name}", "--transcripts=off")
            started = max(report.seen for report in roll.wait(count)) - begun
            subject.daemon.wait_for(lambda: subject.daemon.health()["agents"]["running"] == count, 60)
            pid = subject.daemon.pid
            start_cpu = cpu_seconds(pid)
            additions = []
            for number in range(arguments.edits):
                # Not in step with agentd's own pace.
                time.sleep(random.uniform(0.3, 0.6))
                begun = time.perf_counter()
                way.add(subject, count, f"extra-{number}")
                additions.append(1000 * (roll.wait(1)[0].seen - begun))
            time.sleep(1)
            addition_cpu = 1000 * (cpu_seconds(pid) - start_cpu) / arguments.edits
            before = cpu_seconds(pid)
            time.sleep(arguments.seconds)
            idle = 100 * (cpu_seconds(pid) - before) / arguments.seconds
            return Figures(started, start_cpu, additions, addition_cpu, idle)
        finally:
            subject.daemon.signal(15)
            subject.daemon.wait_exit(60)
            subject.daemon.stopped_cleanly = True
            subject.daemon.close()


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000, help="agents, each in a file of its own")
    parser.add_argument("--edits", type=int, default=20, help="agents that are added, one after the other")
    parser.add_argument("--seconds", type=float, default=60, help="of idleness")
    arguments = parser.parse_args()
    print("| declared by | all run after [s] | CPU [s] | one added [ms] | CPU [ms] | idle [% of a core] |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for way in WAYS:
        print(f"| {way.name} | {measure(way, arguments)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
