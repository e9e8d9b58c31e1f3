"""Ends what a run started: finds all its processes, and kills them.

An agent's processes are found in its control group where it has one, which none can leave as long as agentd is root; as
descendants of its launcher; and by the unique ``AGENTD_RUN_ID`` in their environment:
a process that left its session and lost its parents is a child of an ancestor of the tmux server (init or a
subreaper), so only those orphans need a look, not all of /proc (70 ms at 700 processes).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from agentd.process.cgroups.group import Group
from agentd.process.identity import HAS_PIDFD, ProcessIdentity
from agentd.process.orphans import hold_marked
from agentd.process.pidfds import wait_ended
from agentd.process.proc import NOTHING_LEFT, ancestors, children_of, descendants, run_id_of

log = structlog.get_logger(__name__)

REAPER_LIMIT = 5.0
"""Seconds that processes have to end after SIGKILL; one that waits for a dead disk may never."""
_UNSURE_LIMIT = 1.0
"""Seconds until a look that found nothing is believed though orphans, of whatever program, come and go too fast."""
_ENDING_PAUSE = 0.2
"""Seconds at most between two looks: a process that forked before it died is found by the next look."""
_ENDING_PAUSE_WITHOUT_PIDFD = 0.01
_RETRY_LOOK = 0.1
"""Seconds until the next look when there was nothing left to look with."""


NO_GROUPS: Mapping[str, Group] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """The processes of one run, by what is known of them; the reaper finds the others."""

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
    children = children_of(launcher)
    # The shell for inspection, which a launcher becomes, has the run's environment; what it starts is an operator's.
    return [] if run_id_of(launcher) == run_id else children


def _find(
    trees: Sequence[ProcessTree], server: int, adopters: Iterable[int], groups: Mapping[str, Group]
) -> tuple[dict[str, set[ProcessIdentity]], bool]:
    """The processes of each run, and whether these are surely all.

    Those that are gone again are among them, as each may have left another.
    """
    launchers = {tree.run_id: tree.launcher.pid for tree in trees if tree.launcher and tree.launcher.surely_alive()}
    spared = {*launchers.values(), 1, os.getpid(), server}
    found: dict[str, set[ProcessIdentity]] = {}
    # Trees before orphans: what loses its parent while the trees are walked is an orphan when those are listed.
    for tree in trees:
        roots = {process.pid for process in tree.known if process.surely_alive()}
        if tree.run_id in launchers:
            roots.update(_started_by_launcher(launchers[tree.run_id], tree.run_id))
        if tree.agent is not None and tree.agent.surely_alive():
            roots.add(tree.agent.pid)
        members = groups[tree.run_id].members() if tree.run_id in groups else set()
        found[tree.run_id] = _identified(members.union(roots, *map(descendants, roots)) - spared)
    marked, sure = hold_marked(found.keys(), adopters, spared)
    for run_id, orphan in marked:
        found[run_id].add(ProcessIdentity.seen(orphan) or ProcessIdentity(orphan, None).gone())
        found[run_id] |= _identified(descendants(orphan) - spared)
    return found, sure


def _identified(pids: Iterable[int]) -> set[ProcessIdentity]:
    return {process for pid in pids if (process := ProcessIdentity.seen(pid)) is not None}


def _kill(processes: Iterable[ProcessIdentity]) -> list[int]:
    """SIGKILL processes; returns descriptors that become readable as they end (none where there are no pidfds)."""
    watched: list[int] = []
    for process in processes:
        try:
            if not HAS_PIDFD:
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


@dataclass(frozen=True, slots=True)
class Look:
    """What one look for the processes of runs found."""

    found: dict[str, set[int]]
    """For each run the pids that were found, and killed."""
    sure: bool
    """Whether a run that none were found of has surely none; else orphans came and went too fast to tell."""


def end_found(
    trees: Sequence[ProcessTree], server: int, adopters: Iterable[int], groups: Mapping[str, Group] = NO_GROUPS
) -> Look:
    """Look once for all that these runs started, SIGKILL it, and wait a moment until it has ended.

    Blocks: call it in a thread. A process may fork before it dies, so only an empty answer says that nothing is left.

    Parameters
    ----------
    groups
        The control groups of those runs that have one, by run id.
    """
    found, sure = _find(trees, server, adopters, groups)
    for run_id, group in groups.items():
        # Agents of agentd's own user may have put anything in.
        if found.get(run_id) and not group.members() & {os.getpid(), server}:
            group.kill()
    everything = set().union(*found.values())
    if everything:
        watched = _kill(everything)
        try:
            wait_ended(watched, _ENDING_PAUSE)
        finally:
            for descriptor in watched:
                os.close(descriptor)
        if not HAS_PIDFD:
            select.poll().poll(_ENDING_PAUSE_WITHOUT_PIDFD * 1000)
    return Look({run_id: {process.pid for process in processes} for run_id, processes in found.items()}, sure)


@dataclass(frozen=True, slots=True, eq=False)
class _Ending:
    tree: ProcessTree
    unsure_until: float
    until: float
    left: asyncio.Future[set[int]]


class Reaper:
    """Ends what runs left behind; runs that stop together share each look at the process table.

    Parameters
    ----------
    limit
        Seconds after which it gives up on processes that do not end.
    groups
        Gives the control group that all of a run is in, if it has one.
    """

    def __init__(
        self, limit: float = REAPER_LIMIT, groups: Callable[[str], Group | None] = lambda _run_id: None
    ) -> None:
        self._limit = limit
        self._groups = groups
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
        self._adopters.update(ancestors(pid))

    async def end(self, tree: ProcessTree) -> set[int]:
        """SIGKILL everything of one run and wait until it is gone; returns what could not be ended."""
        left: asyncio.Future[set[int]] = asyncio.get_running_loop().create_future()
        now = time.monotonic()
        self._endings.append(_Ending(tree, now + min(_UNSURE_LIMIT, self._limit), now + self._limit, left))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="reaper")
            self._task.add_done_callback(self._worked)
        return await left

    async def _work(self) -> None:
        while self._endings:
            batch = [ending.tree for ending in self._endings]
            try:
                groups = {tree.run_id: group for tree in batch if (group := self._groups(tree.run_id)) is not None}
                look = await asyncio.to_thread(end_found, batch, self._server, frozenset(self._adopters), groups)
            except OSError as error:
                if error.errno not in NOTHING_LEFT:
                    raise
                # Whether anything is left is not known, and what follows must not begin beside it.
                log.warning("processes_not_listed", error=error.strerror, retry_seconds=_RETRY_LOOK)
                await asyncio.sleep(_RETRY_LOOK)
                continue
            now = time.monotonic()
            for ending in list(self._endings):
                left = look.found.get(ending.tree.run_id)
                # Not in this batch yet, or the next look must show that nothing is left.
                if not ending.left.done() and (
                    left is None or (left and now < ending.until) or (not look.sure and now < ending.unsure_until)
                ):
                    continue
                self._endings.remove(ending)
                if not ending.left.done():
                    ending.left.set_result(left or set())

    def _worked(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for ever, whatever ended the work."""
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
