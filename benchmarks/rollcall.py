"""The benchmark's agent, and the FIFO in which each one reports itself as its first act.

The FIFO tells when a process runs without asking agentd and without polling: the floor and agentd are timed by the same
clock, and the reader costs one wake-up for each line.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_SCRIPT = """\
trap 'exit 0' INT
trap 'exit 3' USR1
printf '%s\\n' "$AGENTD_AGENT $$" 1<>"$1"
while :; do read -r _; done
"""
"""Obeys C-c at once, ends by itself when told with SIGUSR1, and costs one exec of sh."""

_INSTANT_EXIT = "exit 1\n"


class RollCallError(RuntimeError):
    """Agents that should run did not report."""


@dataclass(frozen=True, slots=True)
class Report:
    """One agent that runs."""

    name: str
    pid: int
    seen: float
    """`time.perf_counter` when its line was read."""


class RollCall:
    """The FIFO of one folder, and the command of agents that report to it."""

    def __init__(self, folder: Path) -> None:
        self._fifo = folder / "roll"
        self._script = folder / "agent.sh"
        self._instant = folder / "instant.sh"
        self._script.write_text(_SCRIPT)
        self._instant.write_text(_INSTANT_EXIT)
        os.mkfifo(self._fifo)
        self._descriptor = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._partial = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def command(self) -> tuple[str, ...]:
        """The argv of an agent that stays."""
        return "/bin/sh", str(self._script), str(self._fifo)

    @property
    def instant_command(self) -> tuple[str, ...]:
        """The argv of an agent that fails at once and reports nothing."""
        return "/bin/sh", str(self._instant)

    def wait(self, count: int, timeout: float = 120.0) -> list[Report]:
        """Wait until that many more agents have reported.

        Raises
        ------
        RollCallError
            If they do not within `timeout` seconds.
        """
        reports: list[Report] = []
        deadline = time.perf_counter() + timeout
        while len(reports) < count:
            left = deadline - time.perf_counter()
            if left <= 0:
                raise RollCallError(f"expected {count} agents to run within {timeout:g} s, found {len(reports)}")
            select.select([self._descriptor], [], [], left)
            reports += self._read()
        return reports

    def _read(self) -> list[Report]:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._descriptor, 1 << 16)
        seen = time.perf_counter()
        *lines, self._partial = (self._partial + data).split(b"\n")
        words = (line.decode().split(" ") for line in lines)
        return [Report(name, int(pid), seen) for name, pid in words]
