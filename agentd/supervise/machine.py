"""Runs an agent's state machine: applies events at once and performs effects in order.

Events change the life at once, so the status is never older than the last event; effects that need tmux or wait for
processes run in one task that exists only while there are any.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from datetime import tzinfo

from agentd.files.zones import zone_of
from agentd.model.states import AgentState
from agentd.supervise import transitions
from agentd.supervise.host import Host
from agentd.supervise.life import Effect, Instant, Life, Step
from agentd.supervise.record_keeper import RecordKeeper
from agentd.supervise.reporter import Reporter
from agentd.tmux.panes import Pane


@dataclass(frozen=True, slots=True)
class LogScreen:
    """Log the last screen of a run that ended, for ``--debug``."""


class Machine(ABC):
    """Applies steps to a life: reports them, keeps the timer and the record, and performs the effects."""

    def __init__(self, host: Host, life: Life) -> None:
        self.host = host
        self.life = life
        self._effects: deque[Effect | LogScreen] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._records = RecordKeeper(host, life.name, self._work_on)
        self._reporter = Reporter(host, life.name)

    @property
    @abstractmethod
    def pane(self) -> Pane | None:
        """The agent's pane, while it has one."""

    @abstractmethod
    async def _perform(self, effect: Effect | LogScreen) -> None:
        """Perform an effect."""

    @abstractmethod
    async def record(self) -> None:
        """Write the record for a later daemon."""

    @abstractmethod
    def _gone(self) -> None:
        """Called when nothing is left of the agent."""

    def _now(self) -> Instant:
        return self.host.clock.instant(self._zone())

    def _zone(self) -> tzinfo:
        """The agent's time zone."""
        launch = None if self.life.desired is None else self.life.desired.launch
        own = None if launch is None else launch.environment.get("TZ")
        return zone_of(own or self.host.base_environment.get("TZ"))

    def _apply(self, step: Step) -> None:
        before = self.life
        self.life, effects = step
        self._effects.extend(effects)
        if self.life is before and not effects:
            return
        if self.life.state is not before.state or self.life.run is not before.run:
            self._reporter.change(before, self.life)
        if self.life.state is not before.state:
            self.host.state_changed(self.life.state)
        if self.life.limited is not before.limited:
            self._reporter.limit(before, self.life)
        if self.life.stalled is not before.stalled:
            self._reporter.stall(before, self.life)
        if self.life.hold is not before.hold:
            self._reporter.hold(before, self.life)
        self._schedule()
        self._records.changed(before, self.life, pane=self.pane is not None)
        if self._effects or self.life.gone:
            self._work_on()

    def _work_on(self) -> None:
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(), name=f"agent {self.life.name}")
            self._worker.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._worker = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._reporter.log.error("agent_work_failed", exc_info=error)
            run = self.life.run
            if run is not None and run.launched is None and self.life.state is AgentState.STARTING:
                # Nothing else would ever end this launch.
                why = "a defect of agentd ended the launch; its log has the details"
                self._apply(transitions.launch_failed(self.life, run.id, why, self._now()))
        if self._effects:
            self._work_on()
        elif self.life.gone:
            self._gone()

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
                # Ending what the run left may take seconds; a later daemon must know before when the restart is due.
                await self.record()
            while self._effects:
                await self._perform(self._effects.popleft())
            if self._records.take_due():
                await self.record()
            if not self._effects:
                return

    def _cancel_timers(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._records.cancel()

    async def _cancel_work(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
