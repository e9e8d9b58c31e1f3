"""What a control group of its own uses: version 2, or version 1 with its accounting controllers.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/{cpuacct,memory}.rst, cgroups(7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_UNIFIED = ""
"""The name of version 2 in /proc/PID/cgroup, which has none."""
_CPU, _MEMORY = "cpuacct", "memory"
_WATCHED = (_UNIFIED, _CPU, _MEMORY)

_RESIDENT = {_UNIFIED: ("anon", "file_mapped"), _MEMORY: ("total_rss", "total_mapped_file")}
"""What is resident, as opposed to files that are merely cached, in memory.stat."""


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """What a control group used; ``None`` where it does not say."""

    path: str
    cpu_seconds: float | None
    """Since it was made, of processes that have ended too."""
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Mount:
    folder: Path
    root: str
    """The group that the folder shows."""


def _mounts(mountinfo: Path) -> Mapping[str, _Mount]:
    """Where each controller is mounted; source: proc(5), mountinfo."""
    found: dict[str, _Mount] = {}
    try:
        lines = mountinfo.read_text(errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = (*filesystem.split(" "), "", "")[:3]
        fields = mount.split(" ")
        names = {"cgroup2": [_UNIFIED], "cgroup": options.split(",")}.get(kind, [])
        for name in names:
            if name in _WATCHED:
                found.setdefault(name, _Mount(Path(fields[4]), fields[3]))
    return found


@dataclass(slots=True)
class Cgroups:
    """Finds the control groups that agents have for themselves."""

    proc: Path = Path("/proc")
    _places: Mapping[str, _Mount] | None = None
    _groups: dict[int, Mapping[str, str]] = field(default_factory=dict)
    """By pid: each controller's group. A process is put into its group before it runs."""

    def own(self, processes: Mapping[str, int], server: int) -> Mapping[str, GroupUsage]:
        """Read the groups that no other agent, and not the tmux server, is in; agents without one are left out."""
        if self._places is None:
            self._places = _mounts(self.proc / "self/mountinfo")
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
        try:
            lines = (self.proc / str(pid) / "cgroup").read_text(errors="replace").splitlines()
        except OSError:
            return {}
        groups = (line.split(":", 2) for line in lines)
        return {name: group[2] for group in groups for name in group[1].split(",") if name in _WATCHED}

    def _usage(self, groups: Mapping[str, str]) -> GroupUsage:
        cpu = memory = None
        for name, path in groups.items():
            folder = self._folder(name, path)
            if folder is None:
                continue
            if name == _UNIFIED:
                used = dict(_numbers(folder / "cpu.stat")).get("usage_usec")
                cpu = cpu if used is None else used / 1e6
            elif name == _CPU:
                used = dict(_numbers(folder / "cpuacct.usage")).get("")
                cpu = used / 1e9 if used is not None and cpu is None else cpu
            if name in _RESIDENT:
                found = dict(_numbers(folder / "memory.stat"))
                parts = [found[part] for part in _RESIDENT[name] if part in found]
                memory = sum(parts) if parts else memory
        return GroupUsage("".join(groups.values()), cpu, memory)

    def _folder(self, name: str, path: str) -> Path | None:
        place = (self._places or {}).get(name)
        if place is None or not path.startswith(place.root):
            return None
        return place.folder / path[len(place.root) :].lstrip("/")


def _numbers(path: Path) -> Iterator[tuple[str, int]]:
    """The lines ``name number`` of a file; of a bare number the name is empty; nothing where there is no such file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, _, number = line.rpartition(" ")
        if number.isdecimal():
            yield name, int(number)
