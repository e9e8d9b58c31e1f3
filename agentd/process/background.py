"""What an agent's tools have left running: from /proc, without a fork. Blocks.

A tool's process began while a turn was under way, and descends from the agent, or lost its parents and carries the
run's ``AGENTD_RUN_ID``. What serves the agent, an MCP server or a language server, may begin then too (OpenCode starts
them with the first message): it is told by its standard input and output, which are both a pipe or a socket, for the
agent talks to it. A tool's input is ``/dev/null`` or a terminal. Measured with Claude Code 2.1.197, Codex 0.169.0,
OpenCode 1.18.33 and Gemini CLI 0.61.0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, command_of, descendants, numbers_in, read_bytes, run_id_of
from agentd.process.proc import STAT_PARENT as _PARENT
from agentd.process.proc import STAT_STARTED as _STARTED
from agentd.process.proc import STAT_STATE as _STATE

_TICK: Final = os.sysconf("SC_CLK_TCK")
_TALKS: Final = ("pipe:", "socket:")

Parents: TypeAlias = "Mapping[int, tuple[int, int]]"
"""Of each process its parent, and when it was started, in clock ticks since boot."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that has ended, and whose it was."""

    run_id: str
    process: ProcessIdentity
    """The agent's own."""
    began: float
    """On the clock that goes on in suspension (``CLOCK_BOOTTIME``), as the next."""
    ended: float


def boot_time() -> float:
    """Now, on the clock that the start of processes is told by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def read_parents() -> Parents:
    """Look at all processes once: 20 µs each."""
    found = {}
    for pid in numbers_in(PROC):
        line = read_bytes(f"{PROC}/{pid}/stat", 1024)
        fields = [] if not line else line.rpartition(b")")[2].split()
        if len(fields) > _STARTED and fields[_STATE] not in (b"Z", b"X"):
            found[pid] = int(fields[_PARENT]), int(fields[_STARTED])
    return found


def left_running(turn: Turn, parents: Parents) -> tuple[ProcessIdentity, ...]:
    """The tools that a turn has left running, the topmost process of each."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in parents.items():
        children.setdefault(parent, []).append(pid)
    below = set(_tops(turn.process.pid, turn, parents, children))
    # An agent that is talked to at once began as its turn did, and so did the sandbox above it.
    own = {turn.process.pid, *_above(turn.process.pid, parents)}
    orphans = {
        pid
        for pid, (parent, started) in parents.items()
        if _within(turn, started) and parent not in below and pid not in below | own and _is_orphan(pid, turn, parents)
    }
    return tuple(
        ProcessIdentity(pid, parents[pid][1]) for pid in sorted(below | orphans) if not serves(pid) and pid in parents
    )


def _within(turn: Turn, started: int) -> bool:
    # The start is told in whole ticks, rounded down.
    return turn.began - 1 / _TICK <= started / _TICK <= turn.ended


def _tops(pid: int, turn: Turn, parents: Parents, children: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """The topmost processes below one that began in the turn; what began before is the agent's own."""
    for child in children.get(pid, ()):
        if _within(turn, parents[child][1]):
            yield child
        elif parents[child][1] / _TICK <= turn.ended:
            yield from _tops(child, turn, parents, children)


def _is_orphan(pid: int, turn: Turn, parents: Parents) -> bool:
    """Whether a process lost its parents, and is of the run."""
    for above in _above(pid, parents):
        # What is above it is the one to judge, if that began in the turn.
        if above == turn.process.pid or _within(turn, parents[above][1]):
            return False
    return run_id_of(pid) == turn.run_id


def _above(pid: int, parents: Parents) -> Iterator[int]:
    """The processes above one, the nearest first."""
    seen, above = {pid}, parents[pid][0] if pid in parents else 0
    while above in parents and above not in seen:
        yield above
        seen.add(above)
        above = parents[above][0]


def serves(pid: int) -> bool:
    """Whether a process is one that its parent talks to: an MCP server, a language server."""
    return all(_link(pid, number).startswith(_TALKS) for number in (0, 1))


def _link(pid: int, number: int) -> str:
    try:
        return str(Path(PROC, str(pid), "fd", str(number)).readlink())
    except OSError:
        return ""


def still_running(known: Iterable[ProcessIdentity]) -> tuple[ProcessIdentity, ...]:
    """Those that still run, and all below them, which may outlive them."""
    found = {each.pid: each for each in known if each.alive()}
    for pid in list(found):
        for below in descendants(pid):
            identity = ProcessIdentity.of(below)
            if identity is not None:
                found.setdefault(below, identity)
    return tuple(found.values())


def names_of(known: Sequence[ProcessIdentity]) -> tuple[str, ...]:
    """The command lines of those that have no children among them: what runs in the end, and not the shells above."""
    pids = {each.pid for each in known}
    parents = {_parent(pid) for pid in pids}
    shown = (
        " ".join(word.decode("utf-8", "replace") for word in command_of(pid) if word) for pid in sorted(pids - parents)
    )
    return tuple(filter(None, shown))


def _parent(pid: int) -> int:
    line = read_bytes(f"{PROC}/{pid}/stat", 1024)
    return int(line.rpartition(b")")[2].split()[_PARENT]) if line else 0
