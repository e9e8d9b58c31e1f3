"""The process table, looked at from outside with psutil."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.waiting import PATIENCE, wait_for

_PIECE = 65536


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it was when the table was read."""

    pid: int
    parent: int
    argv: tuple[str, ...]

    def __str__(self) -> str:
        """Render as one line of a failure message."""
        line = " ".join(self.argv)
        return f"pid {self.pid} (parent {self.parent}): {line[:300]}"


def marked(mark: str) -> list[Process]:
    """Read every living process that has ``mark`` in its environment, arguments or working directory.

    The calling process and its ancestors are left out. Zombies have nothing of this and are left out too.
    """
    own = _with_ancestors(os.getpid())
    found = []
    for pid in _worth_a_look(os.fsencode(mark)):
        if pid in own:
            continue
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            argv = process.cmdline()
            where = [*argv, process.cwd(), *process.environ().values()]
            if any(mark in text for text in where):
                found.append(Process(process.pid, process.ppid(), tuple(argv)))
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # ended meanwhile, or not ours to look at
    return found


@functools.cache
def _with_ancestors(pid: int) -> frozenset[int]:
    return frozenset({pid, *(parent.pid for parent in psutil.Process(pid).parents())})


def _worth_a_look(mark: bytes) -> list[int]:
    """List the processes that may have the mark; where there is /proc, in 3 ms instead of psutil's 12.

    Each daemon of the tests is looked for once, or three times.
    """
    if not Path("/proc/self/environ").exists():
        return psutil.pids()
    return [pid for pid in psutil.pids() if _has(f"/proc/{pid}", mark)]


def _has(process: str, mark: bytes) -> bool:
    # Not with pathlib, which takes as long as the kernel.
    try:
        texts = _read(f"{process}/environ") + b"\0" + _read(f"{process}/cmdline")
        # Kernel threads and zombies have neither.
        return len(texts) > 1 and (mark in texts or mark in os.fsencode(os.readlink(f"{process}/cwd")))  # noqa: PTH115
    except OSError:
        return False  # ended meanwhile, or not ours to look at


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        text = b""
        while piece := os.read(descriptor, _PIECE):
            text += piece
        return text
    finally:
        os.close(descriptor)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment_now(pid: int) -> dict[str, str]:
    """Read the environment of a process that may end at any moment, and then has none."""
    try:
        return psutil.Process(pid).environ()
    except psutil.NoSuchProcess:
        return {}


def descendants(pid: int) -> list[int]:
    """List the pids below ``pid``."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def children_named(pid: int, name: str) -> list[psutil.Process]:
    """List the children of a process whose names begin like this; others may end meanwhile."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name().startswith(name):
                found.append(child)
    return found


def called(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Give those that have this in the first word of their command lines; any may end meanwhile."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie too
            if name in "".join(process.cmdline()[:1]):
                found.append(process)
    return found


def command_lines() -> list[bytes]:
    """Read the arguments of every process on the machine, as anybody may."""
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(os.fsencode("\0".join(process.cmdline())))
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return lines


def wait_until_gone(pids: Iterable[int], timeout: float = PATIENCE) -> None:
    """Wait until none of ``pids`` runs any more."""
    expected = list(pids)
    wait_for(
        lambda: not [pid for pid in expected if alive(pid)],
        timeout,
        what=f"processes {expected} are gone",
        explain=lambda: f"still alive: {[pid for pid in expected if alive(pid)]}",
    )


def end_marked(mark: str, rounds: int = 20) -> None:
    """SIGKILL what :func:`marked` finds, until there is nothing more: killing one may let another start.

    One that is forked while the process table is read, by a process that has been read, is found by the second look.
    """
    nothing = 0
    for _ in range(rounds):
        found = marked(mark)
        nothing = 0 if found else nothing + 1
        if nothing == 2:
            return
        for process in found:
            try:
                psutil.Process(process.pid).kill()
            except psutil.NoSuchProcess:
                continue
        wait_until_gone(process.pid for process in found)
