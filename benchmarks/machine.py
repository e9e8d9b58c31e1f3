"""What /proc says about this machine and its processes."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agentd import __version__

_TICK = os.sysconf("SC_CLK_TCK")

_SPARE_PTYS = 20
_SPARE_FILES = 200
_TMPFS = Path("/dev/shm")


class UnfitError(RuntimeError):
    """This machine cannot run the benchmark; the text says why and what to do."""


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """CPU that a process with all its threads has used so far, in seconds, in steps of a tick (10 ms)."""
    return sum(map(int, _fields(pid)[11:13])) / _TICK


def thread_cpu_seconds(pid: int) -> float:
    """CPU that the first thread of a process has used so far, in seconds, in steps of a nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def parent(pid: int) -> int:
    return int(_fields(pid)[1])


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def exists(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        return _fields(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def resident_megabytes(pid: int) -> float:
    """Resident memory in units of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)


@dataclass(frozen=True, slots=True)
class ForkMarks:
    """What cannot stay the same when a process forks: its children, or what the kernel added up from ended ones.

    Each child has page faults of its own, which its parent inherits in field 11 of /proc/PID/stat when it is reaped.
    """

    children: frozenset[int]
    faults_of_ended_children: int

    @classmethod
    def of(cls, pid: int) -> ForkMarks:
        return cls(frozenset(children(pid)), int(_fields(pid)[8]))


def fork_marks(pids: Iterable[int]) -> dict[int, ForkMarks]:
    """The marks of several processes, by pid."""
    return {pid: ForkMarks.of(pid) for pid in pids}


def working_folder() -> Path:
    """A folder on tmpfs where there is one, as agentd's runtime directory is by default; short, for its sockets."""
    where = _TMPFS if os.access(_TMPFS, os.W_OK | os.X_OK) else None
    return Path(tempfile.mkdtemp(prefix="agentd-bench-", dir=where))


def check_limits(sessions: int) -> None:
    """Make room for that many sessions beside each other.

    Raises
    ------
    UnfitError
        If the system's limits are lower.
    """
    limit, used = (int(Path(f"/proc/sys/kernel/pty/{name}").read_text()) for name in ("max", "nr"))
    if limit - used < sessions + _SPARE_PTYS:
        raise UnfitError(
            f"expected {sessions + _SPARE_PTYS} free pseudo-terminals, found {limit - used}: "
            f"sysctl kernel.pty.max={limit * 2}"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < sessions + _SPARE_FILES:
        raise UnfitError(f"expected at least {sessions + _SPARE_FILES} open files, found a limit of {hard}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def load() -> str:
    """The load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def is_busy() -> bool:
    """Whether something else seems to use this machine."""
    return os.getloadavg()[0] > 0.25 * (os.cpu_count() or 1)


def facts() -> dict[str, str]:
    """What the figures depend on; nothing that identifies the machine."""
    if not Path("/proc/self/schedstat").exists() or shutil.which("tmux") is None:
        raise UnfitError("expected Linux with /proc/PID/schedstat, and tmux on the PATH")
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    tmux = subprocess.run(["tmux", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "agentd": __version__,
        "cores": f"{len(os.sched_getaffinity(0))} x {', '.join(sorted(models)) or platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "tmux": tmux.removeprefix("tmux "),
        "load average before": load(),
    }
