"""What really ran: told by the marks that agents write and by the process table, not by agentd."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that an agent wrote."""

    word: str
    """``start`` or ``end``."""
    pid: int
    generation: int
    run_id: str
    uptime: float
    status: int | None = None


class Marks:
    """The marks of all agents in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, name: str) -> list[Mark]:
        """Read the marks of one agent, oldest first."""
        try:
            lines = (self.folder / f"{name}.marks").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [_parse(line) for line in lines]

    def starts(self, name: str, generation: int) -> list[Mark]:
        """The starts of one definition of an agent."""
        return [mark for mark in self.of(name) if mark.word == "start" and mark.generation == generation]

    def said(self, run_id: str) -> int:
        """How many lines a run has said."""
        try:
            return int((self.folder / f"{run_id}.said").read_text())
        except FileNotFoundError:
            return 0

    def names(self) -> list[str]:
        """Every agent that ever ran."""
        return [path.stem for path in self.folder.glob("*.marks")]

    def overlaps(self) -> list[str]:
        """Runs that began while something of another run of the same agent still lived."""
        path = self.folder / "overlaps"
        return path.read_text().splitlines() if path.exists() else []


def _parse(line: str) -> Mark:
    word, pid, generation, run_id, uptime, *status = line.split()
    return Mark(word, int(pid), int(generation), run_id, float(uptime), int(status[0]) if status else None)


def lives(mark: Mark) -> bool:
    """Whether the process that wrote a mark still runs."""
    try:
        if _is_zombie(mark.pid):
            return False
        environment = Path(f"/proc/{mark.pid}/environ").read_bytes()
    except (OSError, ValueError):
        return False
    return f"AGENTD_RUN_ID={mark.run_id}\0".encode() in environment


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"


@dataclass(frozen=True, slots=True)
class Relic:
    """A process that carries a run's id."""

    pid: int
    agent: str
    run_id: str
    command: str

    def __str__(self) -> str:
        """Render as a line of a failure message."""
        return f"pid {self.pid} of {self.agent}, run {self.run_id}: {self.command[:120]}"


def of_runs(mark: str) -> list[Relic]:
    """Every living process that carries a run's id and has `mark` in its environment."""
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if b"AGENTD_RUN_ID=" not in environment or mark.encode() not in environment or _is_zombie(pid):
                continue
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError, IndexError):
            continue
        variables = dict(entry.partition(b"=")[::2] for entry in environment.split(b"\0"))
        agent, run_id = (variables.get(name, b"").decode() for name in (b"AGENTD_AGENT", b"AGENTD_RUN_ID"))
        found.append(Relic(pid, agent, run_id, command))
    return found


def _pids() -> Iterable[int]:
    own = os.getpid()
    return [pid for name in os.listdir("/proc") if name.isdecimal() and (pid := int(name)) != own]  # noqa: PTH208 (fast)
