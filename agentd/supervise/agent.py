"""One supervised agent: feeds events to its life and carries out the effects, in order.

Events change the life at once, so the status is never older than the last event; effects that need tmux or wait for
processes run in one task that exists only while there are any.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.launch.preflight import PreflightError
from agentd.model.events import Detail, Event, EventKind
from agentd.model.states import AgentState
from agentd.process.identity import ExitWatch, inspects, runs_script, signal_group
from agentd.process.reaper import ProcessTree, snapshot
from agentd.supervise import transitions
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.launching import check_launch, give_trust, open_pane, prepare
from agentd.supervise.life import (
    CloseSession,
    Effect,
    Instant,
    KillRun,
    LaunchRun,
    Life,
    ReapRun,
    ReportStopped,
    Step,
    StopReason,
    TerminateGroup,
    TypeKey,
)
from agentd.supervise.lost_record import assumed
from agentd.supervise.policy import Exit
from agentd.supervise.record import Description, Record
from agentd.supervise.record_keeper import RecordKeeper
from agentd.supervise.run_handle import RunHandle
from agentd.supervise.run_recorder import RunFacts
from agentd.supervise.teller import Teller
from agentd.supervise.work_folders import folders_ready
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane

_STATUS_PATIENCE = 10.0
"""Seconds that a launcher has to write the status of an agent that ended; it takes a millisecond."""
_STATUS_LOOK = 0.02
_SESSION_WAIT = 0.02
"""Seconds between looks whether another agent has given up a session name."""


_KEY_LIMIT = 1.0
"""Seconds for tmux to type a key: an agent's end waits no longer for a server that agents may hold up."""


@dataclass(frozen=True, slots=True)
class _ShowScreen:
    """Log the last screen of a run that ended, for ``--debug``."""


class Agent:
    """One agent in the daemon's hands.

    Parameters
    ----------
    on_gone
        Called when nothing is left of it.
    """

    def __init__(self, host: Host, life: Life, described: Description, on_gone: Callable[[Agent], None]) -> None:
        self.host = host
        self.life = life
        self.described = described
        self._on_gone = on_gone
        self._handle: RunHandle | None = None
        self._effects: deque[Effect | _ShowScreen] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._records = RecordKeeper(host, life.name, self._work_on)
        self._teller = Teller(host, life.name)
        self.unrecorded = False
        """Whether what it was launched as is not known, since its record was lost."""

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
        return None if self._handle is None else self._handle.tree()

    @property
    def run_id(self) -> str | None:
        """Id of the run there is, or of the last one."""
        return self._handle.run_id if self._handle is not None else None

    # -- what others tell it

    def define(self, desired: DesiredAgent) -> None:
        """The agent is declared like this."""
        self.described = Description.of(desired.spec)
        self._apply(transitions.define(self.life, desired, self._now()))

    def describe(self, desired: DesiredAgent) -> None:
        """Show this declaration without acting on it: the agent is disabled."""
        self.described = Description.of(desired.spec)

    def remember(self) -> None:
        """Its record stands in the anchor session already."""
        self._records.remembered()

    def withdraw(self, reason: StopReason) -> None:
        """The agent is no longer wanted."""
        self._apply(transitions.withdraw(self.life, reason, self._now()))

    def found_all(self, *, tried: bool) -> None:
        """A look found all that its launch needs."""
        self._apply(transitions.found_all(self.life, self._now(), tried=tried))

    def mounted_over(self, reason: str) -> None:
        """Its workdir is covered by another folder."""
        self._apply(transitions.mounted_over(self.life, reason, self._now()))

    def kill_now(self) -> None:
        """End a stop under way without grace."""
        self._apply(transitions.kill_now(self.life, self._now()))

    def session_lost(self, reason: str) -> None:
        """Its pane is gone."""
        self.hint()
        if self._handle is not None:
            self.host.recorder.pane_gone(self._handle.run_id)
        self._teller.tell(
            logging.INFO, "agent_session_lost", EventKind.SESSION_LOST, reason, state=self.life.state.value
        )
        handle = self._handle
        launching = handle is not None and handle.process is None and self.life.state is AgentState.STARTING
        self._apply(transitions.session_lost(self.life, reason, self._now()))
        if launching and handle is not None and handle.pane is not None:
            runtime = self.host.runtime
            error = f"{reason} while it started"
            if not Path(runtime.script_path(handle.run_id)).exists():
                error = f"{error}: there is no launch script in {runtime.path}; was that folder moved or removed?"
            self._apply(transitions.launch_failed(self.life, handle.run_id, error, self._now()))

    def adopt(self, pane: Pane, session: str, run_id: str, *, ended: bool) -> None:
        """Take over the run that a former daemon left in this pane, as far as it still goes.

        After a launch that was refused the pane, and with it the record, still is that of the run before.

        Parameters
        ----------
        ended
            Whether its launcher has become the shell for inspection: then it has ended, reported or not.
        """
        run = self.life.run
        if run is None:
            return
        handle = RunHandle(run_id, session)
        handle.opened(pane)
        self._hold(handle)
        self.host.sessions.claim(session, self.name)
        self._teller.adopting()
        if run.ended is None and run.id != run_id:
            self.life = replace(transitions.launch_interrupted(self.life, self._now()), session_open=True)
        elif run.ended is None:
            described = self.described
            self.host.recorder.adopt(RunFacts(self.name, run.id, described.harness, described.workdir, ()), pane)
            # The launcher's reports say how far it came. A stop that the former daemon began is not resumed: what is
            # declared now decides.
            self.life = replace(self.life, run=replace(run, launched=self.host.clock.now()))
            self._read_reports(past=True)
            if ended and self.life.run is not None and self.life.run.ended is None and handle.process is None:
                self._ended(Exit(error="ended with an unknown status: the launcher's reports were removed"))
        self._schedule()
        self._teller.adopted(self.life, run.id)

    def recalled(self, reason: str) -> None:
        """It was taken over by its processes alone, for its record was gone."""
        self.unrecorded = True
        self._teller.log.warning("agent_record_lost", reason=reason)
        self.host.tell(Event(EventKind.RECORD_LOST, self.name, reason))
        self._records.require()

    def assume(self, desired: DesiredAgent) -> None:
        """What it was launched as is not known: take it for what is declared now, but for what its process tells."""
        self.unrecorded = False
        self.life = assumed(self.life, desired, None if self._handle is None else self._handle.process)

    def keep_files(self, present: frozenset[str]) -> bool:
        """Write again what is not among these names of the runtime directory and should be; says whether it was."""
        handle, run = self._handle, self.life.run
        if handle is None or self.pane is None or run is None or run.id != handle.run_id:
            return False
        runtime, record, report = self.host.runtime, *self.host.runtime.lacks(handle.run_id, present)
        if record:
            self._records.lost()
        report = report and handle.process is not None and run.ended is None
        if report and handle.process is not None:
            try:
                runtime.report_process(handle.run_id, handle.process)
            except OSError as error:
                self._teller.log.warning("launcher_report_not_restored", run=run.id, reason=error.strerror)
        return record or report

    def adopt_lost(self, session: str) -> None:
        """Take over a run whose pane was closed while there was no daemon; nothing of it runs any more."""
        run = self.life.run
        assert run is not None
        self._hold(RunHandle(run.id, session))
        self._teller.adopting()
        if run.ended is None:
            self.life = replace(self.life, run=replace(run, launched=self.host.clock.now()))
            self._read_reports(past=True)
            if self.life.state is AgentState.RUNNING:
                self._ended(Exit(error="its tmux session was closed while agentd did not run"))
            elif self.life.state is AgentState.STARTING:
                self.life = transitions.launch_interrupted(self.life, self._now())
            self.life = replace(self.life, session_open=False)
        self._schedule()
        self._records.require()
        self._teller.adopted(self.life, run.id)

    def hint(self) -> None:
        """A launcher's report may be there: look."""
        self._read_reports()

    def _read_reports(self, *, past: bool = False) -> None:
        """Take what the launcher reported; `past` if it may have done so long ago, to a former daemon."""
        handle, run = self._handle, self.life.run
        if handle is None or run is None or run.id != handle.run_id or run.ended is not None:
            return
        if handle.process is None:
            handle.process = self.host.runtime.read_process(handle.run_id)
            if handle.process is not None:
                self.host.runtime.remove_script(handle.run_id)
                # As the kernel has it, so that a later daemon finds the same moment.
                at = self._now().earlier(handle.process.age())
                self._apply(transitions.started(self.life, handle.run_id, handle.process.pid, at))
                if not past:
                    # Its end will be reported too; looking for that now would nearly always be in vain.
                    self._watch(fresh=True)
                    return
        # Looked at first: a launcher that has become the shell for inspection has written its reports before.
        silent = handle.process is None and handle.launcher is not None and inspects(handle.launcher, handle.run_id)
        report = self.host.runtime.read_exit(handle.run_id)
        if report is None and silent:
            why = f"its launcher could not write into {self.host.runtime.path}: make room on that disk"
            self._apply(transitions.launch_failed(self.life, handle.run_id, why, self._now()))
        elif report is None:
            self._watch()
        elif report.status is None:
            self._apply(
                transitions.launch_failed(self.life, handle.run_id, report.error or "could not start", self._now())
            )
        else:
            self._ended(Exit.from_status(report.status), report.age(self.host.clock.wall()) if past else 0.0)

    # -- life and effects

    def _now(self) -> Instant:
        return self.host.clock.instant()

    def _apply(self, step: Step) -> None:
        before = self.life
        self.life, effects = step
        self._effects.extend(effects)
        if self.life is before and not effects:
            return
        if self.life.state is not before.state or self.life.run is not before.run:
            self._teller.change(before, self.life)
        self._schedule()
        self._records.changed(before, self.life, pane=self.pane is not None)
        if self._effects or self.life.gone:
            self._work_on()

    def _work_on(self) -> None:
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(), name=f"agent {self.name}")
            self._worker.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._worker = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._teller.log.error("agent_work_failed", exc_info=error)
            run = self.life.run
            if run is not None and run.launched is None and self.life.state is AgentState.STARTING:
                # Nothing else would ever end this launch.
                why = "a defect of agentd ended the launch; its log has the details"
                self._apply(transitions.launch_failed(self.life, run.id, why, self._now()))
        if self._effects:
            self._work_on()
        elif self.life.gone:
            self._on_gone(self)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = transitions.wake_at(self.life)
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        before = self.life
        self._apply(transitions.tick(self.life, self._now()))
        if self.life is before:
            # The loop's timers may fire up to its clock's resolution early.
            self._schedule()

    async def _work(self) -> None:
        while True:
            if self._effects and self._records.due and self.life.state is AgentState.BACKOFF:
                # When it is due must be known to a later daemon before seconds of ending what the run left.
                await self.record()
            while self._effects:
                await self._perform(self._effects.popleft())
            if self._records.take_due():
                await self.record()
            if not self._effects:
                return

    async def _perform(self, effect: Effect | _ShowScreen) -> None:
        match effect:
            case LaunchRun(run_id):
                await self._launch(run_id)
            case TypeKey(key):
                self._take_snapshot()
                await self._type(key)
            case TerminateGroup():
                self._take_snapshot()
                self._terminate()
            case KillRun():
                await self._kill()
            case ReapRun():
                await self._reap()
            case CloseSession():
                await self._close_session()
            case ReportStopped():
                self._apply(transitions.stopped(self.life, self._now()))
            case _ShowScreen():
                await self._show_screen()

    # -- launching

    async def _launch(self, run_id: str) -> None:
        desired = self.life.desired
        if desired is None or not self._wants(run_id) or not await self._session_free(run_id, desired.spec.session):
            self._put_off(run_id)
            return
        try:
            clock, former = self.host.clock, self._handle
            shell = former.launcher.pid if former is not None and former.launcher is not None else None
            ready = await folders_ready(
                self.host.folders, desired.spec, lambda: self._wants(run_id), clock.today(), clock.wall(), shell
            )
            if ready:
                # Before its turn: a mount that does not answer keeps no other agent waiting.
                await check_launch(self.host, desired)
                await give_trust(self.host, desired)
        except PreflightError as error:
            self._apply(transitions.launch_refused(self.life, run_id, self.host.redact(str(error)), self._now()))
            return
        if not ready:
            self._put_off(run_id)
            return
        async with self.host.slots:
            if self.life.desired is not desired or not self._wants(run_id):
                self._put_off(run_id)
                return
            await self._open(run_id, desired)

    async def _open(self, run_id: str, desired: DesiredAgent) -> None:
        """Launch for good: from here there is a pane, or a reason why not."""
        former, handle = self._handle, RunHandle(run_id, desired.spec.session)
        survivors = former.survivors if former is not None else frozenset()
        try:
            if survivors:
                pids = ", ".join(map(str, sorted(survivors)))
                raise PreflightError(f"processes of the former run cannot be ended: {pids}")
            record = Record.of(self.life, self.described).dump()
            request = prepare(self.host, desired, run_id, record)
            if former is not None:
                await self.host.recorder.taken(former.run_id)
            writer = await self.host.recorder.begin(self._facts(desired, run_id))
            self._hold(handle)
            self._records.launched(record)
            pane = former.pane if former is not None and self.life.session_open else None
            request = replace(request, writer=writer)
            handle.opened(await open_pane(self.host, desired.spec, request, pane))
        except (PreflightError, TmuxError) as error:
            self.host.runtime.remove_run(run_id)
            self._hold(former)
            refused = isinstance(error, PreflightError)
            told = transitions.launch_refused if refused else transitions.launch_failed
            self._apply(told(self.life, run_id, self.host.redact(str(error)), self._now()))
            return
        if handle.pane is not None:
            self.host.recorder.opened(run_id, handle.pane)
        self._apply(transitions.launch_opened(self.life, run_id, self._now()))
        if former is not None:
            await self._forget_run(former.run_id)

    def _facts(self, desired: DesiredAgent, run_id: str) -> RunFacts:
        words = () if desired.launch is None else desired.launch.argv
        argv = tuple(self.host.redact(word) for word in words)
        return RunFacts(self.name, run_id, desired.spec.harness, str(desired.spec.workdir), argv)

    async def _forget_run(self, run_id: str) -> None:
        """End what the shell of an ended run may have started, now that the shell is gone."""
        await self.host.reaper.end(ProcessTree(run_id, None))
        self.host.runtime.remove_run(run_id)

    def _hold(self, handle: RunHandle | None) -> None:
        """Take a run as the one there is, to be told of its reports."""
        if self._handle is not None:
            self.host.runs.pop(self._handle.run_id, None)
        self._handle = handle
        if handle is not None:
            self.host.runs[handle.run_id] = self.hint

    def _wants(self, run_id: str) -> bool:
        return self.life.state is AgentState.STARTING and self.life.run is not None and self.life.run.id == run_id

    def _put_off(self, run_id: str) -> None:
        self._apply(transitions.launch_put_off(self.life, run_id, self._now()))

    async def _session_free(self, run_id: str, session: str) -> bool:
        """Wait while another agent, on its way out or to another name, holds the session name."""
        if self._handle is not None and self._handle.session != session:
            await self._close_session()
        while not self.host.sessions.free_for(session, self.name):
            await asyncio.sleep(_SESSION_WAIT)
            if not self._wants(run_id):
                return False
        return True

    # -- watching

    def _watch(self, *, fresh: bool = False) -> None:
        handle = self._handle
        if handle is not None and handle.process is not None and handle.watch is None and not self._looking:
            handle.watch = ExitWatch(handle.process, self._process_ended, fresh=fresh)

    @property
    def _looking(self) -> bool:
        return self._look is not None

    def _process_ended(self) -> None:
        """The process is gone; its launcher writes the status within a millisecond."""
        if self._handle is not None:
            self._handle.watch = None
        self._look_for_status(self._handle, self.host.clock.now() + _STATUS_PATIENCE)

    def _look_for_status(self, handle: RunHandle | None, until: float) -> None:
        self._look = None
        run = self.life.run
        if handle is None or handle is not self._handle or run is None or run.ended is not None:
            return
        # Looked at first: a launcher that has moved on has written its report before.
        launcher_lives = handle.launcher is None or runs_script(handle.launcher, handle.run_id)
        report = self.host.runtime.read_exit(handle.run_id)
        if report is not None and report.status is not None:
            self._ended(Exit.from_status(report.status))
            return
        if launcher_lives and self.host.clock.now() < until:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(_STATUS_LOOK, self._look_for_status, handle, until)
            return
        why = "its launcher could not record it, its session was closed, or its launcher was killed"
        self._ended(Exit(error=f"ended with an unknown status: {why}"))

    def _ended(self, ended: Exit, ago: float = 0.0) -> None:
        handle = self._handle
        assert handle is not None
        if handle.watch is not None:
            handle.watch.cancel()
            handle.watch = None
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self.host.debug:
            self._effects.append(_ShowScreen())
        self._apply(transitions.exited(self.life, handle.run_id, ended, self._now().earlier(ago)))

    # -- stopping

    def _take_snapshot(self) -> None:
        """Remember what the run has started before a signal makes orphans of it."""
        handle = self._handle
        if handle is not None and handle.launcher is not None and not handle.known:
            handle.known = snapshot(handle.launcher)

    async def _type(self, key: str) -> None:
        pane = self.pane
        if pane is None:
            return
        try:
            async with asyncio.timeout(_KEY_LIMIT):
                await self.host.tmux.send_key(pane, key)
        except (TmuxError, TmuxUnreachableError, TimeoutError) as error:
            reason = str(error) or f"tmux did not answer within {_KEY_LIMIT:g} s"
            self._teller.log.warning("agent_key_not_typed", key=key, reason=reason)

    def _terminate(self) -> None:
        handle = self._handle
        if handle is None or handle.process is None or self.life.state is not AgentState.STOPPING:
            return
        try:
            signal_group(handle.process, signal.SIGTERM, self.host.user.uid)
        except OSError as error:
            self._teller.log.warning("agent_not_signalled", error=error.strerror)

    async def _kill(self) -> None:
        handle, run = self._handle, self.life.run
        if run is None or run.ended is not None or handle is None:
            return
        self._take_snapshot()
        data: dict[str, Detail] = {"run": run.id} if run.pid is None else {"run": run.id, "pid": run.pid}
        reason = "it did not end in its grace period"
        self._teller.tell(logging.WARNING, "agent_killed", EventKind.KILLED, reason, **data)
        self._teller.survivors(await self.host.reaper.end(handle.tree()))
        if handle.process is None and handle.run_id == run.id:
            await self._close_session()
            self._apply(transitions.launch_failed(self.life, run.id, "stopped before it had started", self._now()))

    async def _reap(self) -> None:
        handle = self._handle
        if handle is None:
            return
        handle.survivors = frozenset(await self.host.reaper.end(handle.tree()))
        self._teller.survivors(handle.survivors)

    async def _close_session(self) -> None:
        handle = self._handle
        if handle is None:
            return
        if handle.pane is not None:
            await self.host.recorder.taken(handle.run_id)
            while True:
                try:
                    await self.host.tmux.kill_pane(handle.pane)
                    break
                except TmuxUnreachableError:
                    await self.host.tmux.wait_connected()
        handle.pane = None
        self._records.launched(None)
        self.host.sessions.release(handle.session, self.name)
        await self._forget_run(handle.run_id)

    # -- remembering, and the end

    async def record(self) -> None:
        """Write down what a later daemon must know."""
        run_id = self.run_id if self.pane is not None else None
        await self._records.write(self.life, self.described, run_id=run_id)

    async def _show_screen(self) -> None:
        pane = self.pane
        if pane is None:
            return
        try:
            screen = await self.host.tmux.capture(pane)
        except (TmuxError, TmuxUnreachableError) as error:
            self._teller.log.debug("agent_screen_unreadable", reason=str(error))
            return
        self._teller.log.debug("agent_last_screen", screen=self.host.redact(screen))

    def forget(self) -> None:
        """Nothing is left of it: hold nothing any more."""
        self._cancel_timers()
        self._hold(None)
        self.host.sessions.release(self.described.session, self.name)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        self._records.cancel()

    async def close(self) -> None:
        """Let go of the agent without touching it."""
        self._cancel_timers()
        if self._handle is not None and self._handle.watch is not None:
            self._handle.watch.cancel()
        worker = self._worker
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
