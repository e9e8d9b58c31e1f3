"""What a control group of its own uses: version 2, or version 1 with its accounting controllers.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{cpuacct,memory}.rst, cgroups(7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentd.process.cgroups.hierarchies import UNIFIED, Mount, folder_of, mounts, paths_of

_CPU, _MEMORY = "cpuacct", "memory"
_WATCHED = (UNIFIED, _CPU, _MEMORY)

_RESIDENT = {UNIFIED: ("anon", "file_mapped"), _MEMORY: ("total_rss", "total_mapped_file")}
"""What is resident, as opposed to files that are merely cached, in memory.stat."""


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """What a control group used; ``None`` where it does not say."""

    path: str
    cpu_seconds: float | None
    """Since it was made, of processes that have ended too."""
    memory_bytes: int | None


@dataclass(slots=True)
class Cgroups:
    """Finds the control groups that agents have for themselves."""

    proc: Path = Path("/proc")
    _places: Mapping[str, Mount] | None = None
    _groups: dict[int, Mapping[str, str]] = field(default_factory=dict)
    """By pid: each controller's group. A process is put into its group before it runs."""

    def own(self, processes: Mapping[str, int], server: int) -> Mapping[str, GroupUsage]:
        """Read the groups that no other agent, and not the tmux server, is in; agents without one are left out."""
        if self._places is None:
            self._places = mounts(self.proc / "self/mountinfo")
        shared = set(self._of(server).items())
        self._groups = {pid: self._groups.get(pid) or self._of(pid) for pid in processes.values()}
        times = Counter(group for pid in processes.values() for group in self._groups[pid].items())
        found: dict[str, GroupUsage] = {}
        for agent, pid in processes.items():
            alone = {
                name: path
                for name, path in self._groups[pid].items()
                if (name, path) not in shared and times[name, path] == 1
            }
            if alone:
                found[agent] = self._usage(alone)
        return found

    def _of(self, pid: int) -> Mapping[str, str]:
        groups = paths_of(self.proc / str(pid) / "cgroup")
        return {name: path for name, path in groups.items() if name in _WATCHED}

    def _usage(self, groups: Mapping[str, str]) -> GroupUsage:
        cpu = memory = None
        for name, path in groups.items():
            folder = folder_of(self._places or {}, name, path)
            if folder is None:
                continue
            if name == UNIFIED:
                used = dict(numbers(folder / "cpu.stat")).get("usage_usec")
                cpu = cpu if used is None else used / 1e6
            elif name == _CPU:
                used = dict(numbers(folder / "cpuacct.usage")).get("")
                cpu = used / 1e9 if used is not None and cpu is None else cpu
            if name in _RESIDENT:
                found = dict(numbers(folder / "memory.stat"))
                parts = [found[part] for part in _RESIDENT[name] if part in found]
                memory = sum(parts) if parts else memory
        return GroupUsage("".join(groups.values()), cpu, memory)


def numbers(path: Path) -> Iterator[tuple[str, int]]:
    """The lines ``name number`` of a file; of a bare number the name is empty; nothing where there is no such file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, number = line.rpartition(" ")
        if number.isdecimal():
            yield name, int(number)
