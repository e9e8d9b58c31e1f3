"""The run that an agent has, or had last: its pane, its processes, its files, and what its launcher reports of it."""

from __future__ import annotations

import signal
from functools import partial

from agentd.process.reaper import ProcessTree
from agentd.sandbox.egress.service import Running
from agentd.supervise import budget_steps, hold_steps, limit_steps, stall_steps, transitions
from agentd.supervise.host import Host
from agentd.supervise.launching import served
from agentd.supervise.life import Life
from agentd.supervise.limiting import admit, report_oom, with_reason
from agentd.supervise.machine import LogScreen, Machine
from agentd.supervise.record import Description
from agentd.supervise.run_handle import Ended, NotStarted, Report, RunHandle, Started
from agentd.supervise.run_watcher import NotTold
from agentd.supervise.stalls import Silence
from agentd.supervise.watching import watch_run
from agentd.tmux.panes import Pane


class RunHolder(Machine):
    """Holds the handle of a run, and feeds what is reported of it to the life."""

    def __init__(self, host: Host, life: Life, described: Description) -> None:
        super().__init__(host, life)
        self.described = described
        self._handle: RunHandle | None = None

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.life.name

    @property
    def pane(self) -> Pane | None:
        """Its pane, while it has one."""
        return self._handle.pane if self._handle is not None and self.life.session_open else None

    @property
    def session(self) -> str:
        """The session name its pane was made with."""
        return self._handle.session if self._handle is not None else self.described.session

    @property
    def tree(self) -> ProcessTree | None:
        """The processes of the run there is, or of the last one."""
        return None if self._handle is None else self._handle.tree

    @property
    def run_id(self) -> str | None:
        """Id of the run there is, or of the last one."""
        return self._handle.run_id if self._handle is not None else None

    @property
    def served(self) -> Running | None:
        """The run that there is or will be, if it reaches something by name."""
        return served(self.life, self._handle)

    def restore_files(self, present: frozenset[str]) -> bool:
        """Write its files again that are missing from these names of the runtime directory; says whether any was."""
        handle, run = self._handle, self.life.run
        if handle is None or self.pane is None or run is None or run.id != handle.run_id:
            return False
        no_record, no_report = self.host.runtime.lacks(handle.run_id, present)
        if no_record:
            self._records.lost()
        return (no_report and run.ended is None and handle.report_again()) or no_record

    def look_for_oom(self, run_id: str, *, killed: bool = False) -> None:
        """Look whether the kernel has killed a process of this run for lack of memory, its own if that was `killed`."""
        kills = self.host.groups.oom_kills(run_id, killed=killed)
        if report_oom(self._reporter, self.life, run_id, kills):
            self._apply(transitions.oom_killed(self.life, run_id, kills, self._now()))

    def hint(self, *, past: bool = False) -> None:
        """Look for a launcher's report; `past` if it may have been made long ago, to a former daemon."""
        handle, run = self._handle, self.life.run
        if handle is not None and run is not None and run.id == handle.run_id and run.ended is None:
            if handle.pane is not None or past:
                handle.read_reports(past=past)
            else:
                handle.wait_for_pane(partial(self.hint, past=True))

    def activity_changed(self) -> None:
        """Take what the run is doing: it may be at a usage limit."""
        run = self.life.run
        shown = None if run is None else self.host.watcher.shown(run.id)
        if run is not None and shown is not None:
            self._apply(limit_steps.observed(self.life, run.id, shown.activity, shown.limit, self._now()))
            used = self.host.watcher.budget(self.life.name)
            self._apply(budget_steps.observed(self.life, run.id, used, self._now()))
            self._apply((hold_steps.activity_changed(self.life, shown.activity, self._now()), ()))

    def _told_on(self, run_id: str, not_told: NotTold | None) -> None:
        """Take whether a run was told to go on."""
        if not_told is not None:
            error = self.host.redact(not_told.error)
            self._apply(limit_steps.not_told(self.life, run_id, error, self._now(), held=not_told.held))

    def look(self, silence: Silence, *, went_on: bool) -> bool:
        """Take what a look found of what it does; says whether something is tried with it now."""
        before = self.life.stalled
        self._apply(stall_steps.seen(self.life, silence, self._now(), went_on=went_on))
        now = self.life.stalled
        return now is not None and now is not before

    def _told_to_stop(self, error: str | None) -> None:
        """Take whether the turn of a run that does not go on was interrupted: what else there is follows."""
        if error is not None:
            self._reporter.log.warning("agent_not_interrupted", reason=self.host.redact(error))

    def _reported(self, run_id: str, report: Report) -> None:
        match report:
            case Started(pid, ago):
                self._apply(transitions.started(self.life, run_id, pid, self._now().earlier(ago)))
                if self._handle is not None and self._handle.run_id == run_id:
                    watch_run(self.host, self.life, self.described, self._handle)
            case NotStarted(error):
                self._apply(transitions.launch_failed(self.life, run_id, error, self._now()))
            case Ended(ended, ago):
                self.look_for_oom(run_id, killed=ended.signal == signal.SIGKILL and self.life.stop is None)
                ended = with_reason(self.life, ended, self.host.clock.now())
                if self.host.debug:
                    self._effects.append(LogScreen())
                self._apply(transitions.exited(self.life, run_id, ended, self._now().earlier(ago)))

    def _new_handle(self, run_id: str, session: str) -> RunHandle:
        return RunHandle(self.host, run_id, session, self._reported, partial(admit, self.host, self))

    def _hold(self, handle: RunHandle | None) -> None:
        """Make this the current run, and take its hints."""
        if self._handle is not None:
            self._handle.close()
            self.host.runs.pop(self._handle.run_id, None)
            self.host.doings.pop(self._handle.run_id, None)
        self._handle = handle
        if handle is not None:
            self.host.runs[handle.run_id] = self.hint
            self.host.doings[handle.run_id] = self.activity_changed
