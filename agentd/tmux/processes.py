"""Processes that are not our children: who they are, when they end, and what an agent left behind.

An agent's processes are found as descendants of its launcher, and by the unique ``AGENTD_RUN_ID`` in their environment:
a process that left its session and lost its parents is a child of an ancestor of the tmux server (init or a
subreaper), so only those orphans need a look, not all of /proc (70 ms at 700 processes).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentd.jcard.spec import RUN_ID_VARIABLE

log = structlog.get_logger(__name__)

_PROC = "/proc"
_HAS_PIDFD = hasattr(os, "pidfd_open")
_POLL_WITHOUT_PIDFD = 0.5
"""Seconds between looks at a process where the system cannot tell of its end (macOS)."""

_MAX_ENVIRONMENT = 4 * 1024 * 1024

REAPER_LIMIT = 5.0
"""Seconds that processes have to end after SIGKILL; one that waits for a dead disk may never."""
_ENDING_PAUSE = 0.2
"""Seconds at most between two looks: a process that forked before it died is found by the next look."""
_ENDING_PAUSE_WITHOUT_PIDFD = 0.01
_LOOKS_AT_ORPHANS = 20

_HIGHEST_PID = 2**31 - 1
_NO_START = -1
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_RETRY_LOOK = 0.1
"""Seconds until the next look when there was nothing left to look with."""
_STAT_STATE, _STAT_PARENT, _STAT_THREADS, _STAT_STARTED = 0, 1, 17, 19
"""Where fields 3, 4, 20 and 22 of /proc/PID/stat stand after the program's name."""


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
        started = tail.split()[_STAT_STARTED : _STAT_STARTED + 1]
        if not started or not started[0].isdecimal():
            raise ValueError(f"expected a line of /proc/PID/stat, found {stat_line[:80]!r}")
        return cls(_parse_pid(head.partition(" ")[0]), int(started[0]))

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Identify a process that exists now (a zombie does not count); without its start if that cannot be read."""
        try:
            return cls.seen(pid)
        except OSError:
            return cls(pid, None) if Path(_PROC, str(pid)).exists() else None

    @classmethod
    def seen(cls, pid: int) -> ProcessIdentity | None:
        """Identify a process that exists now.

        Raises
        ------
        OSError
            If there is nothing left to look with.
        """
        line = _read_bytes(f"{_PROC}/{pid}/stat", 1024)
        if line is None:
            if Path(_PROC, "self").exists() or not _signal_reaches(pid):
                return None
            return cls(pid, None)
        text = line.decode("utf-8", "replace")
        fields = text.rpartition(")")[2].split()
        # A process whose first thread has ended is shown as a zombie while its other threads run.
        if fields[_STAT_STATE] in "ZX" and int(fields[_STAT_THREADS]) <= 1:
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
            return self.started != _NO_START and Path(_PROC, str(self.pid)).exists()

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
    if not Path(_PROC, "self").exists():
        return True
    try:
        status = _status(pid)
        return status is not None and user in (status["Uid"], (_status(status["PPid"]) or status)["Uid"])
    except OSError:
        return False


def _status(pid: int) -> dict[str, int] | None:
    """The numbers of /proc/PID/status, the first of each line."""
    text = _read_bytes(f"{_PROC}/{pid}/status", 65536)
    if not text:
        return None
    lines = (line.partition(":\t") for line in text.decode("utf-8", "replace").splitlines())
    return {name: int(value.split()[0]) for name, _, value in lines if name in ("Uid", "PPid")}


def runs_script(launcher: ProcessIdentity, run_id: str) -> bool:
    """Whether a launcher still executes the script of this run, and has not ended or become a shell yet."""
    if not launcher.alive():
        return False
    try:
        line = _read_bytes(f"{_PROC}/{launcher.pid}/cmdline", 4096)
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


def _read_bytes(path: str, limit: int) -> bytes | None:
    """A /proc file, or ``None`` if the process is gone or not ours to look at.

    Raises
    ------
    OSError
        If there is no descriptor or no memory left to look with, so that nothing is known.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOTHING_LEFT:
            raise
        return None
    try:
        pieces = []
        while limit > 0 and (piece := os.read(descriptor, min(limit, 65536))):
            pieces.append(piece)
            limit -= len(piece)
        return b"".join(pieces)
    except OSError:
        return None
    finally:
        os.close(descriptor)


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
        if _HAS_PIDFD:
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


def signal_group(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal the process group of a process; ``False`` if it is gone."""
    if not process.surely_alive():
        return False
    try:
        group = os.getpgid(process.pid)
        if group == os.getpgrp():
            raise PermissionError(errno.EPERM, "that is agentd's own process group")
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in _numbers_in(f"{_PROC}/{pid}/task"):
        line = _read_bytes(f"{_PROC}/{pid}/task/{task}/children", 1 << 20)
        if line:
            found.extend(map(int, line.split()))
    return found


def descendants(pid: int) -> set[int]:
    """All processes below `pid` right now, itself not among them."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in _children(todo.pop()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        try:
            line = _read_bytes(f"{_PROC}/{pid}/stat", 1024)
        except OSError as error:
            log.warning("processes_not_listed", error=error.strerror)
            break
        if line is None:
            break
        pid = int(line.rpartition(b")")[2].split()[_STAT_PARENT])
        if pid:
            found.append(pid)
    return found


def run_id_of(pid: int) -> str | None:
    """The ``AGENTD_RUN_ID`` a process was started with, or ``None``."""
    marker = RUN_ID_VARIABLE.encode() + b"="
    for entry in _environment(pid).split(b"\0"):
        if entry.startswith(marker):
            return entry[len(marker) :].decode("ascii", "replace")
    return None


def _is_zombie(pid: int) -> bool:
    line = _read_bytes(f"{_PROC}/{pid}/stat", 1024)
    return line is not None and line.rpartition(b")")[2].split()[_STAT_STATE] == b"Z"


def _environment(pid: int) -> bytes:
    environment = _read_bytes(f"{_PROC}/{pid}/environ", _MAX_ENVIRONMENT)
    if not environment and _is_zombie(pid):
        # Its first thread has ended; others may run.
        for task in _numbers_in(f"{_PROC}/{pid}/task"):
            environment = environment or _read_bytes(f"{_PROC}/{pid}/task/{task}/environ", _MAX_ENVIRONMENT)
    return environment or b""


def _numbers_in(folder: str) -> list[int]:
    try:
        with os.scandir(folder) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdecimal()]
    except OSError as error:
        if error.errno in _NOTHING_LEFT:
            raise
        return []


def _orphans(adopters: Iterable[int]) -> set[int]:
    """Processes that lost their parents below the tmux server: children of the server's ancestors."""
    if not Path(f"{_PROC}/{os.getpid()}/task/{os.getpid()}/children").exists():
        return set(_numbers_in(_PROC))
    return {child for adopter in adopters for child in _children(adopter)}


@dataclass(frozen=True, slots=True)
class Remains:
    """What to look for when the processes of one run are to be ended."""

    run_id: str
    launcher: ProcessIdentity | None
    """The pane's launcher; it is spared, being the shell for inspection, but what it started is not."""
    known: frozenset[ProcessIdentity] = frozenset()
    """Processes seen earlier as the run's, whose environment or parents may have changed since."""
    agent: ProcessIdentity | None = None


def snapshot(launcher: ProcessIdentity) -> frozenset[ProcessIdentity]:
    """Identify what a launcher has started so far; taken before the first signal, which orphans processes."""
    if not launcher.alive():
        return frozenset()
    try:
        found = [ProcessIdentity.of(pid) for pid in descendants(launcher.pid)]
    except OSError as error:
        log.warning("processes_not_listed", error=error.strerror)
        return frozenset()
    return frozenset(process for process in found if process is not None)


def _started_by_launcher(launcher: int, run_id: str) -> list[int]:
    children = _children(launcher)
    # The shell for inspection, which a launcher becomes, has the run's environment; what it starts is an operator's.
    return [] if run_id_of(launcher) == run_id else children


def _find(remains: Sequence[Remains], server: int, adopters: Iterable[int]) -> dict[str, set[ProcessIdentity]]:
    """The living processes of each run."""
    launchers = {
        remain.run_id: remain.launcher.pid for remain in remains if remain.launcher and remain.launcher.surely_alive()
    }
    spared = {*launchers.values(), 1, os.getpid(), server}
    roots: dict[str, set[int]] = {remain.run_id: set() for remain in remains}
    for remain in remains:
        found = roots[remain.run_id]
        if remain.run_id in launchers:
            found.update(_started_by_launcher(launchers[remain.run_id], remain.run_id))
        found.update(process.pid for process in remain.known if process.surely_alive())
        if remain.agent is not None and remain.agent.surely_alive():
            found.add(remain.agent.pid)
    _add_orphans(roots, adopters, spared)
    return {
        run_id: {
            process
            for pid in found.union(*map(descendants, found)) - spared
            if (process := ProcessIdentity.seen(pid)) is not None
        }
        for run_id, found in roots.items()
    }


def _add_orphans(roots: dict[str, set[int]], adopters: Iterable[int], spared: set[int]) -> None:
    """Add the marked orphans to their runs.

    A process that forks and ends between the list of orphans and the look at it has left another orphan: so the list
    is read until nothing new is on it.
    """
    seen = set(spared)
    for _ in range(_LOOKS_AT_ORPHANS):
        new = _orphans(adopters) - seen
        if not new:
            return
        seen |= new
        for pid in new:
            run_id = run_id_of(pid)
            if run_id in roots:
                roots[run_id].add(pid)


def _kill(processes: Iterable[ProcessIdentity]) -> list[int]:
    """SIGKILL processes; returns descriptors that become readable as they end (none where there are no pidfds)."""
    watched: list[int] = []
    for process in processes:
        try:
            if not _HAS_PIDFD:
                os.kill(process.pid, signal.SIGKILL)
                continue
            descriptor = os.pidfd_open(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
        except OSError:
            if not watched:
                raise
            break  # those that are watched free descriptors as they end; the next look finds the others
        watched.append(descriptor)
        # Only now that the descriptor holds the process is it sure that the pid is still the one that was found.
        if _still(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    return watched


def _still(process: ProcessIdentity) -> bool:
    """Whether a process is the one that was found; not if that cannot be told, for the next look finds it again."""
    try:
        return process.surely_alive()
    except OSError:
        return False


def _wait_ended(descriptors: Iterable[int], limit: float) -> None:
    poll = select.poll()
    waiting = set(descriptors)
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    until = time.monotonic() + limit
    while waiting and (rest := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(rest * 1000):
            poll.unregister(descriptor)
            waiting.discard(descriptor)


def end_found(remains: Sequence[Remains], server: int, adopters: Iterable[int]) -> dict[str, set[int]]:
    """Look once for all that these runs started, SIGKILL it, and wait a moment until it has ended.

    Blocks: call it in a thread. A process may fork before it dies, so only an empty answer says that nothing is left.

    Returns
    -------
    dict
        For each run the pids that were found.
    """
    found = _find(remains, server, adopters)
    everything = set().union(*found.values())
    if everything:
        watched = _kill(everything)
        try:
            _wait_ended(watched, _ENDING_PAUSE)
        finally:
            for descriptor in watched:
                os.close(descriptor)
        if not _HAS_PIDFD:
            select.poll().poll(_ENDING_PAUSE_WITHOUT_PIDFD * 1000)
    return {run_id: {process.pid for process in processes} for run_id, processes in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Ending:
    remains: Remains
    until: float
    left: asyncio.Future[set[int]]


class Reaper:
    """Ends what runs left behind; runs that stop together share each look at the process table.

    Parameters
    ----------
    limit
        Seconds after which it gives up on processes that do not end.
    """

    def __init__(self, limit: float = REAPER_LIMIT) -> None:
        self._limit = limit
        self._endings: list[_Ending] = []
        self._task: asyncio.Task[None] | None = None
        self._server = 1
        self._adopters = {1}

    @property
    def server(self) -> int:
        """Pid of the tmux server."""
        return self._server

    @server.setter
    def server(self, pid: int) -> None:
        self._server = pid
        # Kept from now on, as orphans must be found when the server is gone, too.
        self._adopters.update(_ancestors(pid))

    async def end(self, remains: Remains) -> set[int]:
        """SIGKILL everything of one run and wait until it is gone; returns what could not be ended."""
        left: asyncio.Future[set[int]] = asyncio.get_running_loop().create_future()
        self._endings.append(_Ending(remains, time.monotonic() + self._limit, left))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="reaper")
            self._task.add_done_callback(self._worked)
        return await left

    async def _work(self) -> None:
        while self._endings:
            batch = [ending.remains for ending in self._endings]
            try:
                found = await asyncio.to_thread(end_found, batch, self._server, frozenset(self._adopters))
            except OSError as error:
                if error.errno not in _NOTHING_LEFT:
                    raise
                # Whether anything is left is not known, and what follows must not begin beside it.
                log.warning("processes_not_listed", error=error.strerror, retry_seconds=_RETRY_LOOK)
                await asyncio.sleep(_RETRY_LOOK)
                continue
            now = time.monotonic()
            for ending in list(self._endings):
                left = found.get(ending.remains.run_id)
                # Not in this batch yet, or found something that the next look must show as gone.
                if not ending.left.done() and (left is None or (left and now < ending.until)):
                    continue
                self._endings.remove(ending)
                if not ending.left.done():
                    ending.left.set_result(left or set())

    def _worked(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for ever, whatever ended the work."""
        error = None if task.cancelled() else task.exception()
        if self._task is not task:
            return
        self._task = None
        endings, self._endings = self._endings, []
        for ending in endings:
            if ending.left.done():
                continue
            if error is None:
                ending.left.cancel()
            else:
                ending.left.set_exception(error)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])
