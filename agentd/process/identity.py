"""Processes that are not our children: who they are, and when they end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentd.process.proc import PROC, STAT_STARTED, STAT_STATE, STAT_THREADS, read_bytes, run_id_of, status_numbers

log = structlog.get_logger(__name__)

HAS_PIDFD = hasattr(os, "pidfd_open")
"""Whether the system gives descriptors of processes (Linux)."""
_POLL_WITHOUT_PIDFD = 0.5
"""Seconds between looks at a process where the system cannot tell of its end (macOS)."""

_HIGHEST_PID = 2**31 - 1
_LONGEST_START = 20
"""Digits of 64 bits."""
_NO_START = -1


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from a later one with the same pid by its start time."""

    pid: int
    started: int | None
    """Clock ticks since boot (field 22 of /proc/PID/stat); ``None`` where there is no /proc."""

    @classmethod
    def parse(cls, stat_line: str) -> ProcessIdentity:
        """Read a line of /proc/PID/stat, or a bare pid.

        Raises
        ------
        ValueError
            If it is neither.
        """
        head, _, tail = stat_line.rpartition(")")
        if not head:
            return cls(_parse_pid(stat_line), None)
        started = tail.split()[STAT_STARTED : STAT_STARTED + 1]
        if not started or not started[0].isdecimal() or len(started[0]) > _LONGEST_START:
            raise ValueError(f"expected a line of /proc/PID/stat, found {stat_line[:80]!r}")
        return cls(_parse_pid(head.partition(" ")[0]), int(started[0]))

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Identify a process that exists now (a zombie does not count); without its start if that cannot be read."""
        try:
            return cls.seen(pid)
        except OSError:
            return cls(pid, None) if Path(PROC, str(pid)).exists() else None

    @classmethod
    def seen(cls, pid: int) -> ProcessIdentity | None:
        """Identify a process that exists now.

        Raises
        ------
        OSError
            If there is nothing left to look with.
        """
        line = read_bytes(f"{PROC}/{pid}/stat", 1024)
        if line is None:
            if Path(PROC, "self").exists() or not _signal_reaches(pid):
                return None
            return cls(pid, None)
        text = line.decode("utf-8", "replace")
        fields = text.rpartition(")")[2].split()
        # A process whose first thread has ended is shown as a zombie while its other threads run.
        if fields[STAT_STATE] in "ZX" and int(fields[STAT_THREADS]) <= 1:
            return None
        return cls.parse(text)

    def gone(self) -> ProcessIdentity:
        """The same pid, as one that has ended for good: no later process will ever pass for it."""
        return ProcessIdentity(self.pid, _NO_START)

    def age(self) -> float:
        """Seconds since the process was created; 0 where that is not known."""
        if self.started is None or self.started == _NO_START or not hasattr(time, "CLOCK_BOOTTIME"):
            return 0.0
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - (self.started + 0.5) / os.sysconf("SC_CLK_TCK"))

    def alive(self) -> bool:
        """Whether this very process still runs; with nothing left to look with, whether one with its pid exists."""
        try:
            return self.surely_alive()
        except OSError:
            return self.started != _NO_START and Path(PROC, str(self.pid)).exists()

    def surely_alive(self) -> bool:
        """Whether this very process still runs: for those who will end it.

        Raises
        ------
        OSError
            If there is nothing left to look with.
        """
        now = ProcessIdentity.seen(self.pid)
        return now is not None and (self.started is None or now.started == self.started)


def _parse_pid(text: str) -> int:
    if not (
        text.isdecimal() and text.isascii() and len(text) <= len(str(_HIGHEST_PID)) and 0 < int(text) <= _HIGHEST_PID
    ):
        raise ValueError(f"expected a pid or a line of /proc/PID/stat, found {text[:80]!r}")
    return int(text)


def started_by(user: int, pid: int) -> bool:
    """Whether a process was started by this user: runs as them or, like ``sudo``, is the child of one that does.

    True where the system does not tell (no /proc). Source of the fields: proc(5), the real uid.
    """
    if not Path(PROC, "self").exists():
        return True
    try:
        status = status_numbers(pid)
        return status is not None and user in (status["Uid"], (status_numbers(status["PPid"]) or status)["Uid"])
    except OSError:
        return False


def inspects(launcher: ProcessIdentity, run_id: str) -> bool:
    """Whether a launcher has become the shell for inspection, which has the run's environment."""
    return run_id_of(launcher.pid) == run_id and launcher.alive()


def runs_script(launcher: ProcessIdentity, run_id: str) -> bool:
    """Whether a launcher still executes the script of this run, and has not ended or become a shell yet."""
    if not launcher.alive():
        return False
    try:
        line = read_bytes(f"{PROC}/{launcher.pid}/cmdline", 4096)
    except OSError:
        return True
    return line is None or run_id.encode() in line


def _signal_reaches(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class ExitWatch:
    """Calls back when a process ends: within a millisecond, at no cost while it lives.

    Parameters
    ----------
    process
        The process; it need not be a child.
    on_exit
        Called once, in the event loop; at once if it has ended already.
    fresh
        Whether the process was reported a moment ago, so that no other can have its pid yet.
    """

    def __init__(self, process: ProcessIdentity, on_exit: Callable[[], None], *, fresh: bool = False) -> None:
        self._process = process
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._descriptor: int | None = None
        self._timer: asyncio.Handle | None = None
        if HAS_PIDFD:
            try:
                self._descriptor = os.pidfd_open(process.pid)
            except ProcessLookupError:
                pass
            except OSError as error:
                log.warning("process_polled", pid=process.pid, error=error.strerror)
                self._poll()
                return
            # The pid may have gone to another process between the report and the open.
            if self._descriptor is not None and (fresh or process.alive()):
                self._loop.add_reader(self._descriptor, self._fire)
            else:
                self._timer = self._loop.call_soon(self._fire)
        else:
            self._poll()

    def _poll(self) -> None:
        if self._process.alive():
            self._timer = self._loop.call_later(_POLL_WITHOUT_PIDFD, self._poll)
        else:
            self._timer = self._loop.call_soon(self._fire)

    def _fire(self) -> None:
        self.cancel()
        self._on_exit()

    def cancel(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def signal_group(process: ProcessIdentity, number: signal.Signals, user: int | None = None) -> bool:
    """Signal the process group of a process; ``False`` if it is gone.

    Parameters
    ----------
    user
        Who may say which process that is. Root signals only a group whose leader this user has started: a process of
        theirs can be in a group of root's, such as a git that root has started as them. Then it is signalled alone.

    Raises
    ------
    PermissionError
        If it is in agentd's own process group, or not ours to signal.
    """
    if not process.surely_alive():
        return False
    try:
        group = os.getpgid(process.pid)
        if group == os.getpgrp():
            raise PermissionError(errno.EPERM, "that is agentd's own process group")
        if user is None or os.geteuid() == user or started_by(user, group):
            os.killpg(group, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


async def ends_within(process: ProcessIdentity, limit: float) -> bool:
    """Whether a process is gone within `limit` seconds."""
    gone = asyncio.Event()
    watch = ExitWatch(process, gone.set)
    try:
        async with asyncio.timeout(limit):
            await gone.wait()
    except TimeoutError:
        return False
    finally:
        watch.cancel()
    return True
