"""A run seen from outside: its pane, its processes, and its launcher's reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import structlog

from agentd.process.identity import ExitWatch, ProcessIdentity, inspects
from agentd.process.proc import children_of
from agentd.process.reaper import ProcessTree, snapshot
from agentd.supervise.host import Host
from agentd.supervise.policy import Exit
from agentd.supervise.unreported import find_exit
from agentd.tmux.panes import Pane

log = structlog.get_logger(__name__)

_LONGEST_ANSWER = 2.0
"""Seconds that a run's report waits for tmux to say which pane it opened; it does so in 3 ms, loaded in 0.1 s."""


@dataclass(frozen=True, slots=True)
class Started:
    """The agent's process exists."""

    pid: int
    ago: float
    """Seconds since it was started, by the kernel's account: a later daemon finds the same moment."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """There will be no process."""

    error: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent's process ended."""

    exit: Exit
    ago: float = 0.0
    """Seconds since then."""


Report: TypeAlias = Started | NotStarted | Ended


class RunHandle:
    """Knows a run's pane and processes, and finds out what becomes of it.

    Parameters
    ----------
    session
        The session name its pane was made with.
    report
        Called with the run's id and what is found out.
    admit
        Awaited with the run's id, its process and `extra` before a process that is `held` is released.
    """

    def __init__(
        self,
        host: Host,
        run_id: str,
        session: str,
        report: Callable[[str, Report], None],
        admit: Callable[[str, ProcessIdentity, int], Coroutine[None, None, None]],
    ) -> None:
        self._host = host
        self.run_id = run_id
        self.session = session
        self._report = report
        self._admit = admit
        self.held = False
        """Whether its process waits to be admitted before it executes the agent."""
        self.extra = 0
        """Processes of its sandbox, beside the agent's."""
        self._admission: asyncio.Task[None] | None = None
        self.pane: Pane | None = None
        self.launcher: ProcessIdentity | None = None
        self.process: ProcessIdentity | None = None
        self.survivors: frozenset[int] = frozenset()
        """Processes that SIGKILL did not end."""
        self._known: frozenset[ProcessIdentity] = frozenset()
        self._closed = False
        self._early: asyncio.TimerHandle | None = None
        self._watch: ExitWatch | None = None
        self._look: asyncio.Task[Exit] | None = None

    @property
    def tree(self) -> ProcessTree:
        """Its processes, as far as they are known."""
        return ProcessTree(self.run_id, self.launcher, self._known, self.process)

    def opened(self, pane: Pane) -> None:
        """The launcher runs in this pane."""
        self.pane = pane
        if self._early is not None:
            self._early.cancel()
        self.launcher = ProcessIdentity.of(pane.pid)

    @property
    def early(self) -> bool:
        """Whether the launcher reported before tmux had answered."""
        return self._early is not None

    def wait_for_pane(self, read: Callable[[], None]) -> None:
        """Put reports off until it is known which pane it is: who sees the agent run may type to it at once."""
        if self._early is None and not self._closed:
            self._early = asyncio.get_running_loop().call_later(_LONGEST_ANSWER, read)

    def why_not_started(self, reason: str) -> str:
        """Say why a launch that lost its pane for this reason has failed."""
        runtime, error = self._host.runtime, f"{reason} while it started"
        if Path(runtime.script_path(self.run_id)).exists():
            return error
        return f"{error}: there is no launch script in {runtime.path}; was that folder moved or removed?"

    def report_again(self) -> bool:
        """Write the launcher's report of the process anew, which was removed; says whether there is a process."""
        if self.process is None:
            return False
        try:
            self._host.runtime.report_process(self.run_id, self.process)
        except OSError as error:
            log.warning("launcher_report_not_restored", run=self.run_id, reason=error.strerror)
        return True

    def take_snapshot(self) -> None:
        """Remember what the run has started before a signal makes orphans of it."""
        if self.launcher is not None and not self._known:
            self._known = snapshot(self.launcher)

    def read_reports(self, *, past: bool = False) -> None:
        """Take what the launcher reported; `past` if it may have done so long ago, to a former daemon."""
        if self._closed or self._admission is not None:
            return
        if self.process is None:
            self.process = self._host.runtime.read_process(self.run_id)
            if self.process is not None:
                self._host.runtime.remove_script(self.run_id)
                if self.held:
                    self._begin_admission(self.process)
                    return
                self._report(self.run_id, Started(self.process.pid, self.process.age()))
                if not past:
                    # Its end will be reported too; looking for that now would nearly always be in vain.
                    self._watch_process(fresh=True)
                    return
        # Looked at first: a launcher that has become the shell for inspection has written its reports before.
        silent = self.process is None and self._is_inspected()
        report = self._host.runtime.read_exit(self.run_id)
        if report is None and silent:
            why = f"its launcher could not write into {self._host.runtime.path}: make room on that disk"
            self._report(self.run_id, NotStarted(why))
        elif report is None:
            self._watch_process()
        elif report.status is None and self.process is not None:
            # A sandbox that could not be made: by then there was a process.
            self.end(Exit(error=report.error))
        elif report.status is None:
            self._report(self.run_id, NotStarted(report.error or "could not start"))
        else:
            self.end(Exit.from_status(report.status), report.age(self._host.clock.wall()) if past else 0.0)

    def _is_inspected(self) -> bool:
        try:
            return self.launcher is not None and inspects(self.launcher, self.run_id)
        except OSError as error:
            # agentd may open no more files now; it is looked at again.
            log.warning("launcher_report_unreadable", file=f"{self.run_id}.pid", error=error.strerror)
            return False

    def _begin_admission(self, process: ProcessIdentity) -> None:
        if self.launcher is not None and process.pid not in children_of(self.launcher.pid):
            # The agent user writes the report, and what it names is to be moved and, with its group, ended.
            log.warning("launcher_report_forged", run=self.run_id, pid=process.pid, error="not the launcher's process")
            self._released()
            return
        admission = self._admit(self.run_id, process, self.extra)
        self._admission = asyncio.get_running_loop().create_task(admission, name=f"admission of {self.run_id}")
        self._admission.add_done_callback(self._admitted)

    def _admitted(self, task: asyncio.Task[None]) -> None:
        """Let the process go on, in its group or without one."""
        self._admission = None
        error = task.exception()
        if error is not None:
            log.error("agent_work_failed", run=self.run_id, exc_info=error)
        self._released()

    def _released(self) -> None:
        self.held = False
        self._host.runtime.release(self.run_id)
        assert self.process is not None
        self._report(self.run_id, Started(self.process.pid, self.process.age()))
        # It may have been killed meanwhile.
        self.read_reports(past=True)

    def _watch_process(self, *, fresh: bool = False) -> None:
        if self.process is not None and self._watch is None and self._look is None:
            self._watch = ExitWatch(self.process, self._process_ended, fresh=fresh)

    def _process_ended(self) -> None:
        """The process is gone; its launcher writes the status within a millisecond."""
        self._watch = None
        look = find_exit(self._host, self.run_id, self.pane, self.launcher)
        self._look = asyncio.get_running_loop().create_task(look, name=f"exit of {self.run_id}")
        self._look.add_done_callback(self._exit_found)

    def _exit_found(self, task: asyncio.Task[Exit]) -> None:
        error = task.exception()
        if error is not None:
            log.error("agent_work_failed", run=self.run_id, exc_info=error)
        why = "a defect of agentd; its log has the details"
        self.end(Exit(error=f"ended with an unknown status: {why}") if error is not None else task.result())

    def end(self, ended: Exit, ago: float = 0.0) -> None:
        """Report that it ended like this, so many seconds ago."""
        self.close()
        self._report(self.run_id, Ended(ended, ago))

    def close(self) -> None:
        """Stop watching: what is hinted at from now on is another daemon's concern."""
        self._closed = True
        if self._early is not None:
            self._early.cancel()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._look is not None:
            self._look.remove_done_callback(self._exit_found)
            self._look.cancel()
        if self._admission is not None:
            # A later daemon admits it.
            self._admission.remove_done_callback(self._admitted)
            self._admission.cancel()

    async def closed(self) -> None:
        """Stop watching, and wait until nothing is watched any more."""
        self.close()
        tasks = [task for task in (self._look, self._admission) if task is not None]
        if tasks:
            await asyncio.wait(tasks)
