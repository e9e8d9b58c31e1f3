"""One supervised agent: feeds events to its life and carries out the effects, in order.

Events change the life at once, so the status is never older than the last event; effects that need tmux or wait for
processes run in one task that exists only while there are any.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from agentd.jcard.spec import AGENT_VARIABLE, RUN_ID_VARIABLE
from agentd.supervise import life as lives
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.life import Instant, Life, Step, StopReason
from agentd.supervise.policy import Exit
from agentd.supervise.preflight import PreflightError, check_workdir
from agentd.supervise.record import Description, Record
from agentd.supervise.states import AgentState
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.launcher import LaunchScript, oversized
from agentd.tmux.processes import (
    ExitWatch,
    ProcessIdentity,
    Remains,
    runs_script,
    signal_group,
    snapshot,
)
from agentd.tmux.server import Pane

log = structlog.get_logger(__name__)

_STATUS_PATIENCE = 10.0
"""Seconds that a launcher has to write the status of an agent that ended; it takes a millisecond."""
_STATUS_LOOK = 0.02
_SESSION_WAIT = 0.02
"""Seconds between looks whether another agent has given up a session name."""
_RECORD_DELAY = 0.25
"""Seconds in which several changes are recorded as one. Until then the record of the launch, which tmux takes together
with it, and the launcher's reports tell a later daemon as much."""
ENDED_PREFIX = "@agentd_ended_"
"""Options of the anchor session with the records of ended agents whose own session is gone."""


@dataclass(slots=True)
class RunHandle:
    """The outside of a run: its pane and processes."""

    run_id: str
    session: str
    pane: Pane | None = None
    launcher: ProcessIdentity | None = None
    process: ProcessIdentity | None = None
    watch: ExitWatch | None = None
    known: frozenset[ProcessIdentity] = frozenset()
    survivors: frozenset[int] = field(default_factory=frozenset)
    """Processes that SIGKILL did not end."""

    def remains(self) -> Remains:
        """What to look for when its processes are to be ended."""
        return Remains(self.run_id, self.launcher, self.known, self.process)

    def opened(self, pane: Pane) -> None:
        """The launcher runs in this pane."""
        self.pane = pane
        self.launcher = ProcessIdentity.of(pane.pid)


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
        self._effects: deque[lives.Effect | _ShowScreen] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._record_timer: asyncio.TimerHandle | None = None
        self._record_due = False
        self._recorded: str | None = None
        self._remembered = False
        self._log = log.bind(agent=life.name)

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
    def run_id(self) -> str | None:
        """Id of the run there is, or of the last one."""
        return self._handle.run_id if self._handle is not None else None

    # -- what others tell it

    def define(self, desired: DesiredAgent) -> None:
        """The agent is declared like this."""
        self.described = Description.of(desired.spec)
        self._apply(lives.define(self.life, desired, self._now()))

    def describe(self, desired: DesiredAgent) -> None:
        """Show this declaration without acting on it: the agent is disabled."""
        self.described = Description.of(desired.spec)

    def remember(self) -> None:
        """Its record stands in the anchor session already."""
        self._remembered = True

    def withdraw(self, reason: StopReason) -> None:
        """The agent is no longer wanted."""
        self._apply(lives.withdraw(self.life, reason, self._now()))

    def kill_now(self) -> None:
        """End a stop under way without grace."""
        self._apply(lives.kill_now(self.life, self._now()))

    def session_lost(self, reason: str) -> None:
        """Its pane is gone."""
        self.hint()
        handle = self._handle
        launching = handle is not None and handle.process is None and self.life.state is AgentState.STARTING
        self._apply(lives.session_lost(self.life, reason, self._now()))
        if launching and handle is not None and handle.pane is not None:
            runtime = self.host.runtime
            error = f"{reason} while it started"
            if not Path(runtime.script_path(handle.run_id)).exists():
                error = f"{error}: there is no launch script in {runtime.path}; was that folder moved or removed?"
            self._apply(lives.launch_failed(self.life, handle.run_id, error, self._now()))

    def adopt(self, pane: Pane, session: str) -> None:
        """Take over the run that a former daemon left in this pane, as far as it still goes."""
        run = self.life.run
        if run is None:
            return
        handle = RunHandle(run.id, session)
        handle.opened(pane)
        self._hold(handle)
        self.host.sessions[session] = self.name
        if run.ended is None:
            # The launcher's reports say how far it came. A stop that the former daemon began is not resumed: what is
            # declared now decides.
            self.life = replace(self.life, run=replace(run, launched=self.host.clock.now()))
            self._read_reports(past=True)
        self._schedule()
        life = self.life
        self._log.info(
            "agent_adopted", state=life.state, run=run.id, pid=life.run and life.run.pid, restarts=life.restarts
        )

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
                at = _earlier(self._now(), handle.process.age() if past else 0.0)
                self._apply(lives.started(self.life, handle.run_id, handle.process.pid, at))
                if not past:
                    # Its end will be reported too; looking for that now would nearly always be in vain.
                    self._watch(fresh=True)
                    return
        report = self.host.runtime.read_exit(handle.run_id)
        if report is None:
            self._watch()
        elif report.status is None:
            self._apply(lives.launch_failed(self.life, handle.run_id, report.error or "could not start", self._now()))
        else:
            self._ended(Exit.from_status(report.status), self.host.clock.wall() - report.written if past else 0.0)

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
            self._report(before)
        self._schedule()
        self._record_soon()
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
            self._log.error("agent_work_failed", exc_info=error)
        if self._effects:
            self._work_on()
        elif self.life.gone:
            self._on_gone(self)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = lives.wake_at(self.life)
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        before = self.life
        self._apply(lives.tick(self.life, self._now()))
        if self.life is before:
            # The loop's timers may fire up to its clock's resolution early.
            self._schedule()

    async def _work(self) -> None:
        while True:
            while self._effects:
                await self._perform(self._effects.popleft())
            if self._record_due:
                self._record_due = False
                await self.record()
            if not self._effects:
                return

    async def _perform(self, effect: lives.Effect | _ShowScreen) -> None:
        match effect:
            case lives.LaunchRun(run_id):
                await self._launch(run_id)
            case lives.TypeKey(key):
                self._take_snapshot()
                await self._type(key)
            case lives.TerminateGroup():
                self._take_snapshot()
                self._terminate()
            case lives.KillRun():
                await self._kill()
            case lives.EndRemains():
                await self._end_remains()
            case lives.CloseSession():
                await self._close_session()
            case lives.ReportStopped():
                self._apply(lives.stopped(self.life, self._now()))
            case _ShowScreen():
                await self._show_screen()

    # -- launching

    async def _launch(self, run_id: str) -> None:
        desired = self.life.desired
        if desired is None or not self._wants(run_id) or not await self._session_free(run_id, desired.spec.session):
            self._put_off(run_id)
            return
        async with self.host.slots:
            desired = self.life.desired
            if desired is None or not self._wants(run_id):
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
            script = self._prepare(run_id, desired)
            self._hold(handle)
            handle.opened(await self._open_pane(former, handle, desired, script))
        except (PreflightError, TmuxError) as error:
            self.host.runtime.remove_script(run_id)
            self._hold(former)
            self._apply(lives.launch_failed(self.life, run_id, self.host.redact(str(error)), self._now()))
            return
        if former is not None:
            self.host.runtime.remove_run(former.run_id)
        self._apply(lives.launch_opened(self.life, run_id, self._now()))

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
        self._apply(lives.launch_put_off(self.life, run_id, self._now()))

    async def _session_free(self, run_id: str, session: str) -> bool:
        """Wait while another agent, on its way out or to another name, holds the session name."""
        if self._handle is not None and self._handle.session != session:
            await self._close_session()
        while self.host.sessions.get(session, self.name) != self.name:
            await asyncio.sleep(_SESSION_WAIT)
            if not self._wants(run_id):
                return False
        return True

    def _prepare(self, run_id: str, desired: DesiredAgent) -> str:
        """Check what the launch needs and write its script.

        Raises
        ------
        PreflightError
            With the reason why it cannot be launched.
        """
        launch, spec, user = desired.launch, desired.spec, self.host.user
        if launch is None:
            raise PreflightError(desired.error or "there is nothing to launch")
        own = {AGENT_VARIABLE: spec.name, RUN_ID_VARIABLE: run_id}
        environment = {**self.host.base_environment, **own, **launch.environment}
        check_workdir(spec.workdir, user)
        self.host.programs.find(launch.argv[0], environment, spec.workdir, user)
        problem = oversized((), environment)
        if problem is not None:
            raise PreflightError(problem)
        if self.host.debug:
            argv = [self.host.redact(word) for word in launch.argv]
            self._log.debug(
                "agent_launching", run=run_id, argv=argv, workdir=str(spec.workdir), environment=sorted(environment)
            )
        script = LaunchScript(spec.name, run_id, launch.argv, environment, str(spec.workdir))
        try:
            return self.host.runtime.write_script(script)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise PreflightError(f"cannot write the launch script in {self.host.runtime.path}: {reason}") from error

    async def _open_pane(self, former: RunHandle | None, handle: RunHandle, desired: DesiredAgent, script: str) -> Pane:
        """Run the script in the agent's pane, or in a new session.

        Raises
        ------
        TmuxError
            If tmux refuses.
        """
        tmux, spec = self.host.tmux, desired.spec
        pane = former.pane if former is not None and self.life.session_open else None
        workdir = str(spec.workdir)
        while True:
            record = self._recorded = self._record_text()
            try:
                if pane is not None:
                    try:
                        return await tmux.respawn(pane, workdir, script, record)
                    except TmuxError as error:
                        self._log.info("agent_pane_gone", reason=str(error))
                        pane = None
                self.host.sessions[spec.session] = self.name
                return await tmux.new_session(spec.session, spec.name, workdir, script, record)
            except TmuxError as error:
                self._release_session(spec.session)
                if "duplicate session" not in str(error):
                    raise
                raise TmuxError(
                    f'a tmux session "{spec.session}" exists that agentd did not open; close or rename it'
                ) from error
            except TmuxUnreachableError:
                # Whether tmux acted on it is unknown: look for a pane of this run before trying again.
                await tmux.wait_connected()
                found = await self._find_pane(handle.run_id)
                if found is not None:
                    return found

    async def _find_pane(self, run_id: str) -> Pane | None:
        try:
            for listed in await self.host.tmux.list_agent_panes():
                if f'"{run_id}"' in listed.record:
                    return listed.pane
        except TmuxUnreachableError:
            pass
        return None

    def _release_session(self, session: str) -> None:
        if self.host.sessions.get(session) == self.name:
            del self.host.sessions[session]

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
        report = self.host.runtime.read_exit(handle.run_id)
        if report is not None and report.status is not None:
            self._ended(Exit.from_status(report.status))
            return
        launcher_lives = handle.launcher is None or runs_script(handle.launcher, handle.run_id)
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
        if self.host.debug and self.pane is not None:
            self._effects.append(_ShowScreen())
        self._apply(lives.exited(self.life, handle.run_id, ended, _earlier(self._now(), ago)))

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
            await self.host.tmux.send_key(pane, key)
        except (TmuxError, TmuxUnreachableError) as error:
            self._log.warning("agent_key_not_typed", key=key, reason=str(error))

    def _terminate(self) -> None:
        handle = self._handle
        if handle is None or handle.process is None or self.life.state is not AgentState.STOPPING:
            return
        try:
            signal_group(handle.process, signal.SIGTERM)
        except OSError as error:
            self._log.warning("agent_not_signalled", error=error.strerror)

    async def _kill(self) -> None:
        handle, run = self._handle, self.life.run
        if run is None or run.ended is not None or handle is None:
            return
        self._take_snapshot()
        self._log.warning("agent_killed", reason="it did not end in its grace period")
        left = await self.host.reaper.end(handle.remains())
        if left:
            self._log.error("processes_survive_sigkill", pids=sorted(left))
        if handle.process is None and handle.run_id == run.id:
            await self._close_session()
            self._apply(lives.launch_failed(self.life, run.id, "stopped before it had started", self._now()))

    async def _end_remains(self) -> None:
        handle = self._handle
        if handle is None:
            return
        handle.survivors = frozenset(await self.host.reaper.end(handle.remains()))
        if handle.survivors:
            self._log.error("processes_survive_sigkill", pids=sorted(handle.survivors))

    async def _close_session(self) -> None:
        handle = self._handle
        if handle is None:
            return
        if handle.pane is not None:
            while True:
                try:
                    await self.host.tmux.kill_pane(handle.pane)
                    break
                except TmuxUnreachableError:
                    await self.host.tmux.wait_connected()
        handle.pane = None
        self._recorded = None
        self._release_session(handle.session)
        self.host.runtime.remove_run(handle.run_id)

    # -- remembering and telling

    def _record_text(self) -> str:
        return Record.of(self.life, self.described).dump()

    def _record_soon(self) -> None:
        if self.life.state.ended and not self.life.gone:
            # Nothing a launcher left tells a later daemon that this is the end: written at once.
            self._record_due = True
            self._work_on()
            return
        if self._record_timer is None and not self.life.gone:
            self._record_timer = asyncio.get_running_loop().call_later(_RECORD_DELAY, self._record_now)

    def _record_now(self) -> None:
        self._record_timer = None
        self._record_due = True
        self._work_on()

    async def record(self) -> None:
        """Write down what a later daemon must know."""
        pane = self.pane
        if self.life.gone and pane is not None:
            return
        try:
            if pane is not None:
                text = self._record_text()
                if text != self._recorded:
                    await self.host.tmux.set_record(pane, text)
                    self._recorded = text
            ran = self.life.run is not None and self.life.run.started is not None
            remember = pane is None and self.life.state.ended and ran and not self.life.gone
            if remember != self._remembered:
                await self.host.tmux.set_global(ENDED_PREFIX + self.name, self._record_text() if remember else None)
                self._remembered = remember
        except TmuxUnreachableError:
            self._recorded = None
        except TmuxError as error:
            self._log.info("agent_record_not_written", reason=str(error))

    def _report(self, before: Life) -> None:
        """Log what happened, one event for each change of state."""
        life = self.life
        if life.state is before.state:
            return
        fields: dict[str, object] = {"state": life.state, "was": before.state}
        run = life.run
        if life.state is AgentState.STARTING and run is not None:
            fields["run"] = run.id
        if life.state is AgentState.RUNNING and run is not None:
            fields |= {"run": run.id, "pid": run.pid, "restarts": life.restarts}
        ended = life.last_exit
        if before.state.live and ended is not None and ended is not before.last_exit:
            fields |= {"exit_code": ended.code, "exit_signal": ended.signal}
        if life.stop is not None:
            fields["reason"] = life.stop.reason
        if life.state is AgentState.BACKOFF and life.due is not None:
            fields["restart_in_seconds"] = round(life.due - self.host.clock.now(), 3)
        if life.error is not None:
            fields["error"] = life.error
        if life.state is AgentState.STARTING:
            self._log.debug("agent_state", **fields)
        elif life.state in (AgentState.FAILED, AgentState.TIMED_OUT):
            self._log.warning("agent_state", **fields)
        else:
            self._log.info("agent_state", **fields)

    async def _show_screen(self) -> None:
        pane = self.pane
        if pane is None:
            return
        try:
            screen = await self.host.tmux.capture(pane)
        except (TmuxError, TmuxUnreachableError) as error:
            self._log.debug("agent_screen_unreadable", reason=str(error))
            return
        self._log.debug("agent_last_screen", screen=self.host.redact(screen))

    def forget(self) -> None:
        """Nothing is left of it: hold nothing any more."""
        self._cancel_timers()
        self._hold(None)
        self._release_session(self.described.session)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._look, self._record_timer):
            if timer is not None:
                timer.cancel()

    async def close(self) -> None:
        """Let go of the agent without touching it."""
        self._cancel_timers()
        if self._handle is not None and self._handle.watch is not None:
            self._handle.watch.cancel()
        worker = self._worker
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])


def _earlier(at: Instant, seconds: float) -> Instant:
    """The same moment, that many seconds ago."""
    seconds = max(0.0, seconds)
    return replace(at, now=at.now - seconds, wall=at.wall - seconds)
