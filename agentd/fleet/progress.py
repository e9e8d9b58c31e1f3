"""How far an agentd-fleet has come that does not answer yet, in a file beside its socket: agentctl says it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.files.replacing import Replacement
from agentd.process.identity import ProcessIdentity
from agentd.text.durations import format_duration

_LARGEST: Final = 1 << 16
_MODE: Final = 0o644
"""It has no secrets, and those who may use the socket are not its owner alone."""


_TYPES: Final = {"pid": int, "started": int, "doing": str, "since": float, "limit": float, "failed": str}


@dataclass(frozen=True, slots=True)
class Progress:
    """What agentd-fleet does while its host has no Node, or why it has ended.

    Parameters
    ----------
    pid
        Of agentd-fleet.
    started
        When that process was, in clock ticks since boot: a later one may have its pid.
    doing
        What it waits for, such as "Ray to start"; empty once it has given up.
    since
        Since when, by the wall clock.
    limit
        Seconds after which it gives up.
    failed
        Why it gave up, or one before it; empty if none did.
    """

    pid: int
    started: int
    doing: str
    since: float
    limit: float
    failed: str = ""

    @property
    def process(self) -> ProcessIdentity:
        """The agentd-fleet that says so."""
        return ProcessIdentity(self.pid, self.started)

    def said(self, now: float, *, lives: bool) -> str:
        """Say it in a sentence.

        Parameters
        ----------
        now
            By the wall clock.
        lives
            Whether the process is there.
        """
        seconds = format_duration(max(0, round(now - self.since)))
        if not self.doing:
            return f"agentd-fleet ended {seconds} ago: {self.failed}"
        if not lives:
            return f"agentd-fleet was killed, and waited for {self.doing}"
        before = f"; before, {self.failed}" if self.failed else ""
        limit = format_duration(self.limit)
        return f"agentd-fleet has waited for {self.doing} for {seconds}, and gives up after {limit}{before}"


def progress_file(fleet_socket: Path) -> Path:
    """Name the file beside the socket of agentd-fleet."""
    return fleet_socket.with_name(f"{fleet_socket.name}.progress")


def write_progress(file: Path, progress: Progress | None) -> None:
    """Have the file say so, or be gone.

    Raises
    ------
    OSError
        If that is not possible.
    """
    if progress is None:
        file.unlink(missing_ok=True)
        return
    Replacement(file, json.dumps(asdict(progress)).encode()).take_place()
    file.chmod(_MODE)


def read_progress(file: Path) -> Progress | None:
    """Give what it says; ``None`` where there is nothing to be understood."""
    try:
        found = json.loads(read_regular(file, _LARGEST))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or {name: type(each) for name, each in found.items()} != _TYPES:
        return None
    return Progress(**found)


def what_is_wrong(fleet_socket: Path, now: float) -> str | None:
    """Say why nobody answers at the socket of agentd-fleet, if one has said so."""
    progress = read_progress(progress_file(fleet_socket))
    return None if progress is None else progress.said(now, lives=progress.process.alive())
