"""One supervised agent: feeds events to its life, and carries out the effects."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agentd.launch.preflight import PreflightError
from agentd.model.events import EventKind
from agentd.model.states import AgentState
from agentd.supervise import hold_steps, transitions
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Host
from agentd.supervise.launching import Prepared, facts_of, make_ready, open_pane, prepare
from agentd.supervise.life import (
    ApplyLimits,
    CloseSession,
    Effect,
    GoOn,
    InterruptTurn,
    KillRun,
    LaunchRun,
    Life,
    LookAtUse,
    ReapRun,
    ReportStopped,
    StopReason,
    TerminateGroup,
    TypeKey,
)
from agentd.supervise.limiting import apply_limits, find_group
from agentd.supervise.lost_record import assumed
from agentd.supervise.machine import LogScreen
from agentd.supervise.policy import Exit
from agentd.supervise.record import Description, Record
from agentd.supervise.run_holder import RunHolder
from agentd.supervise.run_recorder import RunFacts
from agentd.supervise.stopping import close_pane, forget_run, log_screen, terminate, type_key
from agentd.supervise.use import look_at_use
from agentd.tmux.errors import TmuxError
from agentd.tmux.panes import Pane


class Agent(RunHolder):
    """A supervised agent.

    Parameters
    ----------
    on_gone
        Called when nothing is left of it.
    """

    def __init__(self, host: Host, life: Life, described: Description, on_gone: Callable[[Agent], None]) -> None:
        super().__init__(host, life, described)
        self._on_gone = on_gone
        self.unrecorded = False
        """Whether what it was launched as is not known, since its record was lost."""

    # -- what others tell it

    def define(self, desired: DesiredAgent) -> None:
        """Take a declaration."""
        self._apply(transitions.define(self.life, desired, self._now()))
        self.describe(desired)

    def describe(self, desired: DesiredAgent) -> None:
        """Show this declaration without acting on it: the agent is disabled."""
        before, described = self.described, Description.of(desired.spec)
        if self.life.held is not None:
            # What runs is as it was launched.
            described = replace(before, source=described.source, owner=described.owner)
        self.described = described
        if before.source != self.described.source:
            # A later daemon looks there for what became of its declaration.
            self._records.require()

    def remember(self, text: str) -> None:
        """A record of it stands in the anchor session already."""
        self._records.remembered(text)

    def withdraw(self, reason: StopReason) -> None:
        """The agent is no longer wanted."""
        self._apply(transitions.withdraw(self.life, reason, self._now()))

    def prerequisites_met(self, *, tried: bool) -> None:
        """Take note that everything its launch needs is there."""
        self._apply(transitions.prerequisites_met(self.life, self._now(), tried=tried))

    def mounted_over(self, reason: str) -> None:
        """Restart it: another file system was mounted on its workdir."""
        self._apply(transitions.mounted_over(self.life, reason, self._now()))

    def kill_now(self) -> None:
        """End a stop under way without grace."""
        self._apply(transitions.kill_now(self.life, self._now()))

    def session_lost(self, reason: str) -> None:
        """Take note that its pane is gone."""
        self.hint()
        handle = self._handle
        if handle is not None:
            self.host.recorder.pane_gone(handle.run_id)
        state = self.life.state.value
        self._reporter.emit(logging.INFO, "agent_session_lost", EventKind.SESSION_LOST, reason, state=state)
        launching = handle is not None and handle.process is None and self.life.state is AgentState.STARTING
        self._apply(transitions.session_lost(self.life, reason, self._now()))
        if launching and handle is not None and handle.pane is not None:
            error = handle.why_not_started(reason)
            self._apply(transitions.launch_failed(self.life, handle.run_id, error, self._now()))

    def adopt(self, pane: Pane, session: str, run_id: str, *, ended: bool) -> None:
        """Adopt the run that a former daemon left in this pane, as far as it still goes.

        After a launch that was refused the pane, and with it the record, still is that of the run before.

        Parameters
        ----------
        ended
            Whether its launcher has become the shell for inspection: then it has ended, reported or not.
        """
        run = self.life.run
        if run is None:
            return
        handle = self._new_handle(run_id, session)
        handle.opened(pane)
        self._hold(handle)
        find_group(self.host, self.life, self.described, handle)
        self.host.sessions.claim(session, self.name)
        self._reporter.adopting()
        if run.ended is None and run.id != run_id:
            self.life = replace(transitions.launch_interrupted(self.life, self._now()), session_open=True)
        elif run.ended is None:
            facts = RunFacts(self.name, run.id, self.described.harness, self.described.workdir, ())
            self.host.recorder.adopt(facts, pane)
            # The launcher's reports say how far it came. A stop that the former daemon began is not resumed: what is
            # declared now decides.
            self.life = replace(self.life, run=replace(run, launched=self.host.clock.now()))
            self.hint(past=True)
            self.look_for_oom(run_id)
            if ended and self.life.run is not None and self.life.run.ended is None and handle.process is None:
                handle.end(Exit(error="ended with an unknown status: the launcher's reports were removed"))
        self._schedule()
        self._reporter.adopted(self.life, run.id)

    def record_lost(self, reason: str) -> None:
        """Take note that it was adopted by its processes alone, since its record was gone."""
        self.unrecorded = True
        self._reporter.emit(logging.WARNING, "agent_record_lost", EventKind.RECORD_LOST, reason)
        self._records.require()

    def assume(self, desired: DesiredAgent) -> None:
        """Take the run without a record for what is declared now, except where its process shows otherwise."""
        self.unrecorded = False
        self.life = assumed(self.life, desired, None if self._handle is None else self._handle.process)

    def adopt_lost(self, session: str) -> None:
        """Adopt a run whose pane was closed while there was no daemon; nothing of it runs any more."""
        run = self.life.run
        assert run is not None
        handle = self._new_handle(run.id, session)
        self._hold(handle)
        self._reporter.adopting()
        if run.ended is None:
            self.life = replace(self.life, run=replace(run, launched=self.host.clock.now()))
            self.hint(past=True)
            if self.life.state is AgentState.RUNNING:
                handle.end(Exit(error="its tmux session was closed while agentd did not run"))
            elif self.life.state is AgentState.STARTING and not self.life.winding_down:
                self.life = transitions.launch_interrupted(self.life, self._now())
            self.life = replace(self.life, session_open=False)
        self._schedule()
        self._records.require()
        self._reporter.adopted(self.life, run.id)

    # -- carrying out effects

    async def _perform(self, effect: Effect | LogScreen) -> None:
        match effect:
            case LaunchRun(run_id):
                await self._launch(run_id)
            case TypeKey() | TerminateGroup():
                await self._ask_to_end(effect)
            case KillRun() | ReapRun():
                await (self._kill() if isinstance(effect, KillRun) else self._reap())
            case GoOn() | LookAtUse() | InterruptTurn():
                await self._attend(effect)
            case ApplyLimits():
                await apply_limits(self.host, self.life)
            case CloseSession():
                await self._close_session()
            case ReportStopped():
                self._apply(transitions.stopped(self.life, self._now()))
            case LogScreen():
                if self.pane is not None:
                    await log_screen(self.host, self.pane, self._reporter)

    async def _attend(self, effect: GoOn | LookAtUse | InterruptTurn) -> None:
        run_id = effect.run_id
        if isinstance(effect, InterruptTurn):
            self.host.watcher.interrupt(run_id, self._told_to_stop)
            return
        if isinstance(effect, GoOn):
            self.host.watcher.go_on(run_id, effect.number, partial(self._told_on, run_id))
            return
        use = await look_at_use(self.host, self.life, self.pane)
        self._apply(hold_steps.seen(self.life, run_id, use, self._now()))

    # -- launching

    async def _launch(self, run_id: str) -> None:
        desired = self.life.desired
        if desired is None or not self._wants(run_id) or not await self._session_free(run_id, desired.spec.session):
            self._put_off(run_id)
            return
        if self.host.watcher.launch_hold(self.name) is not None:
            self._apply(transitions.launch_held(self.life, run_id, self._now()))
            return
        self.describe(desired)
        try:
            former = self._handle
            shell = former.launcher.pid if former is not None and former.launcher is not None else None
            # Before its turn: a mount that does not answer keeps no other agent waiting.
            prepared = await make_ready(self.host, desired, run_id, lambda: self._wants(run_id), shell)
        except PreflightError as error:
            self._apply(transitions.launch_refused(self.life, run_id, self.host.redact(str(error)), self._now()))
            return
        if prepared is None:
            self._put_off(run_id)
            return
        async with self.host.slots:
            if self.life.desired is not desired or not self._wants(run_id):
                self._put_off(run_id)
                return
            await self._open(run_id, desired, prepared)

    async def _open(self, run_id: str, desired: DesiredAgent, prepared: Prepared) -> None:
        """Open the pane, or fail with a reason."""
        former, handle = self._handle, self._new_handle(run_id, desired.spec.session)
        try:
            if former is not None and former.survivors:
                pids = ", ".join(map(str, sorted(former.survivors)))
                raise PreflightError(f"processes of the former run cannot be ended: {pids}")
            record = Record.of(self.life, self.described).dump()
            launched = desired.launched_as(None if self.life.run is None else self.life.run.resume)
            request = prepare(self.host, launched, run_id, record, prepared)
            if former is not None:
                await self.host.recorder.taken(former.run_id)
            writer = await self.host.recorder.begin(facts_of(self.host, desired, run_id))
            handle.held, handle.extra = request.held, request.extra
            self._hold(handle)
            self._records.launched(record)
            pane = former.pane if former is not None and self.life.session_open else None
            pane = await open_pane(self.host, desired.spec, replace(request, writer=writer), pane)
        except (PreflightError, TmuxError) as error:
            self.host.runtime.remove_run(run_id)
            self._hold(former)
            event = transitions.launch_refused if isinstance(error, PreflightError) else transitions.launch_failed
            self._apply(event(self.life, run_id, self.host.redact(str(error)), self._now()))
            return
        handle.opened(pane)
        self.host.recorder.opened(run_id, pane)
        self._apply(transitions.launch_opened(self.life, run_id, self._now()))
        if handle.early:
            self.hint(past=True)
        if former is not None:
            await forget_run(self.host, former.run_id)

    def _wants(self, run_id: str) -> bool:
        return self.life.state is AgentState.STARTING and self.life.run is not None and self.life.run.id == run_id

    def _put_off(self, run_id: str) -> None:
        self._apply(transitions.launch_put_off(self.life, run_id, self._now()))

    async def _session_free(self, run_id: str, session: str) -> bool:
        """Wait while another agent, on its way out or to another name, holds the session name."""
        if self._handle is not None and self._handle.session != session:
            await self._close_session()
        return await self.host.sessions.wait_free(session, self.name, lambda: self._wants(run_id))

    # -- stopping

    async def _ask_to_end(self, effect: TypeKey | TerminateGroup) -> None:
        if self._handle is not None:
            self._handle.take_snapshot()
        if isinstance(effect, TypeKey):
            if self.pane is not None:
                await type_key(self.host, self.pane, effect.key, self._reporter)
        elif self._handle is not None and self.life.state is AgentState.STOPPING:
            terminate(self.host, self._handle, self._reporter)

    async def _kill(self) -> None:
        handle, run = self._handle, self.life.run
        if run is None or run.ended is not None or handle is None:
            return
        handle.take_snapshot()
        self._reporter.killed(run)
        self._reporter.survivors(await self.host.reaper.end(handle.tree))
        if handle.process is None and handle.run_id == run.id:
            await self._close_session()
            self._apply(transitions.launch_failed(self.life, run.id, "stopped before it had started", self._now()))

    async def _reap(self) -> None:
        handle = self._handle
        if handle is not None:
            handle.survivors = frozenset(await self.host.reaper.end(handle.tree))
            self._reporter.survivors(handle.survivors)
            if not handle.survivors:
                await self.host.groups.remove(handle.run_id)

    async def _close_session(self) -> None:
        handle = self._handle
        if handle is None:
            return
        if handle.pane is not None:
            await self.host.recorder.taken(handle.run_id)
            await close_pane(self.host, handle.pane)
        handle.pane = None
        self._records.launched(None)
        self.host.sessions.release(handle.session, self.name)
        await forget_run(self.host, handle.run_id)

    # -- remembering, and the end

    async def record(self) -> None:
        """Write down what a later daemon must know."""
        await self._records.write(self.life, self.described, run_id=None if self.pane is None else self.run_id)

    def _gone(self) -> None:
        self._on_gone(self)

    def forget(self) -> None:
        """Release everything; nothing is left of the agent."""
        self._cancel_timers()
        self._hold(None)
        self.host.sessions.release(self.described.session, self.name)

    async def close(self) -> None:
        """Let go of the agent without touching it."""
        self._cancel_timers()
        if self._handle is not None:
            await self._handle.closed()
        await self._cancel_work()
