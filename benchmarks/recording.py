"""What it costs to record: at each launch, and while all agents print."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.machine import children, cpu_seconds, thread_cpu_seconds
from benchmarks.results import Result
from benchmarks.running import running_agentd, say
from benchmarks.subject import Subject, SubjectError, table

_BYTES_PER_SECOND = 1_000_000
"""Printed by all agents together."""
_PATTERNS = {"record, print": 1, "record, chatter": 10}
"""How often a second each agent writes, by measure: what tmux does for each write is most of the work."""
_SETTLE = 1.0


@dataclass(slots=True)
class _Side:
    """One agentd, with its agents' terminals."""

    subject: Subject
    writers: list[int] = field(default_factory=list)
    terminals: list[int] = field(default_factory=list)

    def costs(self) -> tuple[float, float, float]:
        """CPU seconds of agentd, of tmux and its client, and of the writers."""
        daemon, *tmux = self.subject.pids
        return cpu_seconds(daemon), sum(map(cpu_seconds, tmux)), sum(map(thread_cpu_seconds, self.writers))

    def launch(self, count: int, *, recorded: bool) -> list[float]:
        """Launch all agents; milliseconds of CPU that each part uses for each of them."""
        before = self.costs()
        self.subject.launch(table("agent", self.subject.roll.command, replicas=count), count)
        self.subject.settle()
        time.sleep(_SETTLE)
        self.writers = _writers(self.subject)
        if len(self.writers) != (count if recorded else 0):
            raise SubjectError(f"expected {count if recorded else 0} writers, found {len(self.writers)}")
        for report in self.subject.reports.values():
            terminal = Path(f"/proc/{report.pid}/fd/1").resolve()
            self.terminals.append(os.open(terminal, os.O_WRONLY | os.O_NOCTTY))
        return [1000 * (now - then) / count for now, then in zip(self.costs(), before, strict=True)]


class Recording:
    """The same agents with and without transcripts, beside each other: what else the machine does, both suffer from."""

    def __init__(self, count: int, effort: Effort) -> None:
        self._count = count
        self._effort = effort

    def results(self) -> Iterator[Result]:
        """What recording adds."""
        launching: dict[bool, list[float]] = {True: [], False: []}
        printing: dict[str, dict[bool, list[float]]] = {name: {True: [], False: []} for name in _PATTERNS}
        notes: dict[str, str] = {}
        for number in range(self._effort.recordings):
            say(f"{self._count} agents: printing, round {number + 1} of {self._effort.recordings}, recorded and not")
            with running_agentd() as recorded, running_agentd("--transcripts=off") as bare:
                sides = {True: _Side(recorded), False: _Side(bare)}
                used = {kind: side.launch(self._count, recorded=kind) for kind, side in sides.items()}
                for kind, parts in used.items():
                    launching[kind].append(sum(parts))
                notes["record, launch"] = _noted(used, "ms")
                for name, rate in _PATTERNS.items():
                    used = self._used(sides, rate)
                    for kind, parts in used.items():
                        printing[name][kind].append(sum(parts))
                    notes[name] = _noted(used, "% of a core")
                for side in sides.values():
                    for terminal in side.terminals:
                        os.close(terminal)
                    side.subject.stop()
        yield Result("record, launch", self._count, _differences(launching), launching[False], notes["record, launch"])
        for name, both in printing.items():
            yield Result(name, self._count, _differences(both), both[False], notes[name])

    def _used(self, sides: dict[bool, _Side], rate: int) -> dict[bool, list[float]]:
        """Percent of a core that each part of each side uses while all agents print."""
        before, begun = {kind: side.costs() for kind, side in sides.items()}, time.perf_counter()
        self._print([side.terminals for side in sides.values()], rate)
        seconds = time.perf_counter() - begun
        return {
            kind: [100 * (now - then) / seconds for now, then in zip(side.costs(), before[kind], strict=True)]
            for kind, side in sides.items()
        }

    def _print(self, sides: list[list[int]], rate: int) -> None:
        """Write to the agents' terminals at a steady pace, as if they printed it; sh would have to fork to wait."""
        size = _BYTES_PER_SECOND // rate // self._count
        line = (b"x" * 99 + b"\n") * (size // 100)
        line += b"x" * (size - len(line) - 1) + b"\n"
        begun, each = time.perf_counter(), 1 / rate / self._count
        for number in range(int(self._effort.recording_seconds * rate) * self._count):
            early = begun + number * each - time.perf_counter()
            if early > 0:
                time.sleep(early)
            for terminals in sides:
                os.write(terminals[number % self._count], line)


def _noted(used: dict[bool, list[float]], unit: str) -> str:
    shown = {kind: "agentd {:.1f} + tmux {:.1f} + writers {:.1f}".format(*parts) for kind, parts in used.items()}
    return f"recorded {shown[True]}; not recorded {shown[False]} {unit}"


def _differences(both: dict[bool, list[float]]) -> list[float]:
    return [recorded - bare for recorded, bare in zip(both[True], both[False], strict=True)]


def _writers(subject: Subject) -> list[int]:
    found = []
    for pid in children(subject.tmux_pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if os.fsencode(subject.daemon.state) in words[-2]:
            found.append(pid)
    return found
