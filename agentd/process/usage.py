"""What each agent's whole process tree uses: from its cgroup where it has one of its own, else from /proc.

One look reads /proc/PID/stat of every process, 15 µs each, and belongs in a thread. A process is an agent's if it
descends from the agent's launcher, is in the launcher's session, or lost its parents and was started with the run's
``AGENTD_RUN_ID``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from agentd.process.cgroups.usage import Cgroups
from agentd.process.proc import look_for_run_id

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_PARENT, _SESSION, _CPU, _STARTED, _RESIDENT = 1, 3, slice(11, 15), 19, 21
"""Where fields 4, 6, 14 to 17, 22 and 24 of /proc/PID/stat stand after the program's name; source: proc(5)."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Where an agent's processes begin."""

    agent: str
    run_id: str
    launcher: int
    """Pid of its pane's launcher; its CPU counts, as it has inherited that of the agent, but not its memory."""
    process: int | None = None
    """Pid of the agent itself, while it runs."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one agent used."""

    cpu_seconds: float
    """Since the meter first saw the agent; never less than before."""
    memory_bytes: int
    """Resident now."""


class SeenProcess(NamedTuple):  # a frozen dataclass takes 1 µs more to make, for each of a thousand
    """One process at a look."""

    pid: int
    parent: int
    session: int
    ticks: int
    """Of CPU, its ended and awaited children's included."""
    started: int
    pages: int
    """Resident."""

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return self.pages * _PAGE


Strangers: TypeAlias = "Mapping[tuple[int, int], str | None]"
"""Run of each process that no launcher is above, by pid and start: what it was started with does not change."""


@dataclass(slots=True)
class _Seen:
    """What was last seen of an agent."""

    run_id: str
    cpu: float = 0.0
    grouped: bool = False
    """Whether its control group said so."""
    total: float = 0.0
    """Added up over its runs."""


@dataclass(slots=True)
class _Sum:
    ticks: int = 0
    pages: int = 0


@dataclass(slots=True)
class UsageMeter:
    """Looks at the processes of all agents at once."""

    cgroups: Cgroups = field(default_factory=Cgroups)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _strangers: Strangers = field(default_factory=dict)

    def measure(self, trees: Sequence[Tree], server: int) -> Mapping[str, Usage]:
        """Look once; blocks.

        Parameters
        ----------
        server
            Pid of the tmux server, whose cgroup is no agent's.
        """
        sums = self._sums(trees)
        own = self.cgroups.own({tree.agent: tree.process for tree in trees if tree.process is not None}, server)
        usages: dict[str, Usage] = {}
        for tree in trees:
            found, group = sums[tree.agent], own.get(tree.agent)
            cpu, memory = found.ticks / _TICK, found.pages * _PAGE
            if group is not None and group.memory_bytes is not None:
                memory = group.memory_bytes
            grouped = group is not None and group.cpu_seconds is not None
            if group is not None and group.cpu_seconds is not None:
                cpu = group.cpu_seconds
            usages[tree.agent] = Usage(self._total(tree, cpu, grouped=grouped), memory)
        for agent in self._seen.keys() - {tree.agent for tree in trees}:
            # It has no processes now; what it used stays.
            usages[agent] = Usage(self._seen[agent].total, 0)
        return usages

    def forget(self, agents: Iterable[str]) -> None:
        """Forget all agents but these."""
        kept = set(agents)
        self._seen = {agent: seen for agent, seen in self._seen.items() if agent in kept}

    def _total(self, tree: Tree, cpu: float, *, grouped: bool) -> float:
        """Add what is new: processes that end unseen take what they used with them, and a new run begins at 0."""
        seen = self._seen.get(tree.agent)
        if seen is None:
            seen = self._seen[tree.agent] = _Seen(tree.run_id)
        same_run = seen.run_id == tree.run_id
        if same_run and seen.grouped and not grouped:
            # Its group went with its process; what /proc still knows is a part of what the group said.
            return seen.total
        seen.total += max(0.0, cpu - (seen.cpu if same_run else 0.0))
        seen.run_id, seen.cpu, seen.grouped = tree.run_id, cpu, grouped
        return seen.total

    def _sums(self, trees: Sequence[Tree]) -> Mapping[str, _Sum]:
        processes = read_processes()
        owners, self._strangers = owners_of(processes, trees, self._strangers)
        launchers = {tree.launcher for tree in trees}
        sums = {tree.agent: _Sum() for tree in trees}
        for pid, process in processes.items():
            owner = owners[pid]
            if owner is not None:
                sums[owner].ticks += process.ticks
                sums[owner].pages += 0 if pid in launchers else process.pages
        return sums


def owners_of(
    processes: Mapping[int, SeenProcess], trees: Sequence[Tree], known: Strangers
) -> tuple[Mapping[int, str | None], Strangers]:
    """Say whose agent's each process is.

    Parameters
    ----------
    known
        What the last look returned beside.
    """
    launchers = {tree.launcher: tree.agent for tree in trees}
    runs = {tree.run_id: tree.agent for tree in trees}
    owners: dict[int, str | None] = dict(launchers)
    strangers: dict[tuple[int, int], str | None] = {}
    for pid in processes:
        for below in _unowned(pid, processes, owners):
            owner = owners.get(below.parent) or launchers.get(below.session)
            if owner is None:
                process = below.pid, below.started
                run, sure = known.get(process), True
                if process not in known:
                    run, sure = look_for_run_id(below.pid)
                if sure:
                    strangers[process] = run
                owner = None if run is None else runs.get(run)
            owners[below.pid] = owner
    return owners, strangers


def _unowned(pid: int, processes: Mapping[int, SeenProcess], owners: Mapping[int, str | None]) -> list[SeenProcess]:
    """The process and those above it of which it is not known whose they are, the topmost first."""
    found: list[SeenProcess] = []
    while pid not in owners and pid in processes:
        found.append(processes[pid])
        pid = processes[pid].parent
    return found[::-1]


def read_processes() -> Mapping[int, SeenProcess]:
    """Look at all processes once."""
    found: dict[int, SeenProcess] = {}
    for pid in os.listdir("/proc"):  # noqa: PTH208 (paths cost more than the files)
        if not pid.isdecimal():
            continue
        try:
            descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # It has ended since.
            continue
        try:
            line = os.read(descriptor, 1024)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        fields = line[line.rfind(b")") + 2 :].split(b" ", _RESIDENT + 1)
        found[int(pid)] = SeenProcess(
            int(pid),
            int(fields[_PARENT]),
            int(fields[_SESSION]),
            sum(map(int, fields[_CPU])),
            int(fields[_STARTED]),
            int(fields[_RESIDENT]),
        )
    return found
