"""Who is at the other end of a connection, and of which run they are, by the kernel's account."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, STAT_PARENT, STAT_STARTED, read_bytes, run_id_of
from agentd.supervise.run_watcher import DeclaredAgent

_CREDENTIALS = struct.Struct("iII")
_DEEPEST = 64
"""Processes above each other that are looked at."""

T = TypeVar("T")

KNOWN = hasattr(socket, "SO_PEERCRED")
"""Whether the kernel tells (Linux)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]
    """Supplementary ones."""


def peer_of(connected: socket.socket) -> Peer:
    """Ask the kernel.

    Raises
    ------
    OSError
        If it does not tell.
    """
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(credentials)
    groups: frozenset[int] = frozenset()
    for line in (read_bytes(f"{PROC}/{pid}/status", 65536) or b"").splitlines():
        name, _, numbers = line.partition(b":")
        if name == b"Groups":
            groups = frozenset(map(int, numbers.split()))
    return Peer(pid, uid, gid, groups)


def run_of(pid: int, runs: Mapping[int, tuple[ProcessIdentity, T]]) -> T | None:
    """Find the run that a process belongs to: it is the run's agent, or descends from it.

    What a process says of itself, its environment, is not asked: it may say anything. One that has lost its parents
    belongs to none.

    Parameters
    ----------
    runs
        The runs by their agents' pids.
    """
    for _ in range(_DEEPEST):
        if pid <= 1:
            return None
        line = read_bytes(f"{PROC}/{pid}/stat", 1024)
        if not line:
            return None
        fields = line.rpartition(b")")[2].split()
        known = runs.get(pid)
        if known is not None:
            process, run = known
            return run if process.started is None or process.started == int(fields[STAT_STARTED]) else None
        pid = int(fields[STAT_PARENT])
    return None


def is_in_a_run(pid: int, runs: Mapping[int, tuple[ProcessIdentity, T]]) -> bool:
    """Whether a process belongs to any run, also if it has lost its parents."""
    return pid != os.getpid() and (run_of(pid, runs) is not None or run_id_of(pid) is not None)


def is_worker_of(agent: str, name: str, declared: Mapping[str, DeclaredAgent]) -> bool:
    """Whether an agent's workers, or theirs, are of that name.

    Parameters
    ----------
    declared
        By name in lower case.
    """
    seen = {agent.lower()}
    at = name.lower()
    while at not in seen and (found := declared.get(at)) is not None and found.spawned_by is not None:
        seen.add(at)
        at = found.spawned_by.lower()
        if at == agent.lower():
            return True
    return False
