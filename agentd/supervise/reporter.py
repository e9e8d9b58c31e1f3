"""Reports what happens to one agent, as events and as lines in the log."""

from __future__ import annotations

import logging
from collections.abc import Collection

import structlog

from agentd.model.events import Detail, Event, EventKind
from agentd.model.states import AgentState
from agentd.supervise.hold_changes import hold_events
from agentd.supervise.host import Host
from agentd.supervise.life import Life, Run
from agentd.supervise.life_changes import describe_change, limit_events
from agentd.supervise.policy import Exit
from agentd.supervise.run_recorder import RunEnd
from agentd.supervise.stall_changes import stall_events


class Reporter:
    """Reports on one agent.

    Parameters
    ----------
    name
        The agent's.
    """

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name
        self._held: list[Event] | None = None
        self.log = structlog.get_logger(__name__).bind(agent=name)

    def emit(self, level: int, line: str, kind: EventKind, reason: str | None = None, /, **data: Detail) -> None:
        """Emit an event that is no change of the life, and log it as this line."""
        fields = data if reason is None else {"reason": reason, **data}
        self.log.log(level, line, **fields)
        self._host.emit(Event(kind, self._name, reason, data))

    def change(self, before: Life, life: Life) -> None:
        """Report a step of the life, with one line in the log for each change of state."""
        change = describe_change(before, life, self._host.clock.now())
        if change.new_state:
            states: dict[str, Detail] = {"state": life.state.value, "was": before.state.value}
            self.log.log(change.level, "agent_state", **{**states, **change.fields})
        for event in change.events:
            if self._held is not None:
                self._held.append(event)
            else:
                self._host.emit(event)
        if change.new_state and life.state is AgentState.STOPPING and life.run is not None:
            self._host.watcher.stopping(life.run.id)
        self._run_ended(before, life)

    def limit(self, before: Life, life: Life) -> None:
        """Report what follows a usage limit, and that an agent was told to go on."""
        for event in limit_events(before, life):
            self.log.info("agent_usage_limit", kind=event.kind.value, reason=event.reason, **event.data)
            if self._held is not None:
                self._held.append(event)
            else:
                self._host.emit(event)

    def stall(self, before: Life, life: Life) -> None:
        """Report that it does not go on, and what is tried."""
        for event in stall_events(before, life):
            self.log.warning("agent_stalled", reason=event.reason, **event.data)
            self._host.emit(event)

    def hold(self, before: Life, life: Life) -> None:
        """Report that a change waits, was applied, or is not declared any more."""
        for event in hold_events(before, life):
            self.log.info("agent_change", kind=event.kind.value, reason=event.reason, **event.data)
            self._host.emit(event)

    def _run_ended(self, before: Life, life: Life) -> None:
        """Tell the recorder of a run that has ended."""
        run, former = life.run, before.run
        if run is None or run.ended is None or former is None or former.id != run.id or former.ended is not None:
            return
        outcome = life.outcome or Exit()
        stop = life.stop or before.stop
        reason = self._host.redact(outcome.describe() if stop is None else stop.reason.value)
        self._host.recorder.ended(RunEnd(run.id, run.ended + self._host.clock.offset(), outcome, reason))
        killed = stop is not None or outcome.signal is not None
        self._host.watcher.ended(run.id, succeeded=outcome.succeeded(life.policy), killed=killed)

    def adopting(self) -> None:
        """Hold what follows back until `adopted`."""
        self._held = []

    def adopted(self, life: Life, run_id: str) -> None:
        """Report that a run was adopted, then what became of it meanwhile; its start is no news."""
        meanwhile, self._held = self._held or [], None
        data: dict[str, Detail] = {"state": life.state.value, "run": run_id, "restarts": life.restarts}
        if life.run is not None and life.run.pid is not None:
            data["pid"] = life.run.pid
        self.emit(logging.INFO, "agent_adopted", EventKind.ADOPTED, **data)
        for event in meanwhile:
            if event.kind is not EventKind.STARTED:
                self._host.emit(event)

    def killed(self, run: Run) -> None:
        """Report that a run is about to be killed."""
        data: dict[str, Detail] = {"run": run.id} if run.pid is None else {"run": run.id, "pid": run.pid}
        reason = "it did not end in its grace period"
        self.emit(logging.WARNING, "agent_killed", EventKind.KILLED, reason, **data)

    def survivors(self, pids: Collection[int]) -> None:
        """Report processes that SIGKILL did not end, if there are any."""
        if pids:
            shown = [str(pid) for pid in sorted(pids)]
            kind = EventKind.PROCESSES_SURVIVE_SIGKILL
            self.emit(logging.ERROR, kind.value, kind, "the kernel does not end them", pids=shown)
