"""A world whose daemon may crash at any moment: what it had in hand is lost, what it wrote down is not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agentd.model.spec import Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import Life, Step
from agentd.supervise.policy import Exit
from agentd.supervise.record import Description, Record
from tests.supervise.life_world import World

DESCRIBED = Description("custom", "native", "a", "/")


@dataclass
class CrashingWorld(World):
    """A world that keeps records and reports as the runtime directory does, and foretells what an exit leads to."""

    records: dict[str, str] = field(default_factory=dict)
    """What was written down of each run."""
    remembered: str | None = None
    """What was written down of an ended agent without a pane."""
    written: dict[str, Exit] = field(default_factory=dict)
    """The launchers' reports, which stay until the run is forgotten."""
    record_due: bool = False
    crashes: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be carried out or written down."""
        return super().idle and not self.record_due

    def tell(self, step: Step) -> None:
        """Take what an event made of the life; a change is to be written down."""
        before = self.life
        super().tell(step)
        self.record_due = self.record_due or self.life != before

    def work(self, *, refuse: bool = False) -> None:
        """Carry out the next effect, or write down what has changed when there is none."""
        if not super().idle:
            super().work(refuse=refuse)
            return
        self.record_due = False
        life = self.life
        text = Record.of(life, DESCRIBED).dump()
        if self.pane is not None and life.session_open and life.run is not None and not life.gone:
            self.records[self.pane] = text
            return
        ran = life.run is not None and life.run.started is not None
        self.remembered = text if life.state.ended and ran and not life.gone else None

    def _launch(self, run_id: str, *, refuse: bool) -> None:
        if self.life.run is not None and self.life.run.id == run_id and self.life.state is AgentState.STARTING:
            # Before tmux is asked for the pane.
            self.records[run_id] = Record.of(self.life, DESCRIBED).dump()
        super()._launch(run_id, refuse=refuse)

    def end(self, run_id: str, ended: Exit) -> None:
        """The agent ends, and its launcher writes that down."""
        super().end(run_id, ended)
        report = self.processes[run_id].report
        assert report is not None
        self.written[run_id] = report

    def _exited(self, run_id: str, ended: Exit) -> None:
        before = self.life
        super()._exited(run_id, ended)
        asked = before.state is AgentState.STOPPING or before.winding_down
        overdue = before.deadline is not None and before.deadline <= self.now
        current = before.run is not None and before.run.id == run_id and before.run.ended is None
        if before.held is not None:
            assert not current or self.life.winding_down, "what waited is launched next"
        elif current and not asked and not overdue:
            self._judge(before.policy, ended)

    def _judge(self, policy: Policy, ended: Exit) -> None:
        """What an exit that nobody asked for must lead to, in the words of the README."""
        life = self.life
        success = ended.error is None and ended.signal is None and ended.code in policy.success_exit_codes
        wanted = {
            RestartPolicy.NO: False,
            RestartPolicy.ON_FAILURE: not success,
            RestartPolicy.ALWAYS: True,
        }[policy.restart]
        if wanted and (policy.max_restarts == 0 or self.automatic < policy.max_restarts):
            delay = policy.restart_delay
            for _ in range(self.automatic):
                delay = min(2 * delay, policy.restart_delay_max)
            assert life.state is AgentState.BACKOFF
            assert life.due == self.now + min(delay, policy.restart_delay_max)
        else:
            assert life.state is (AgentState.EXITED if success else AgentState.FAILED)

    def crash(self) -> None:
        """The daemon dies, and another one takes over what it finds."""
        self.crashes += 1
        self.queue.clear()
        self.opening = None
        self.record_due = False
        before = self.life
        self.seen_use = None
        if self.pane is not None:
            life = Record.parse(self.records[self.pane]).life(session_open=True)
            run = life.run
            assert run is not None
            if run.ended is None and run.id != self.pane:
                life = replace(lives.launch_interrupted(life, self.moment), session_open=True)
            elif run.ended is None:
                life = replace(life, run=replace(run, launched=self.now))
                process = self.processes[run.id]
                process.seen = False
                process.report = self.written.get(run.id)
        elif self.remembered is not None and Record.parse(self.remembered).state.ended:
            life = Record.parse(self.remembered).life(session_open=False)
        else:
            life = Life(before.name)
            self.automatic = 0
        if life.restarts < before.restarts:
            # The decision to restart was not written down yet: it is made again.
            self.automatic = max(0, self.automatic - 1)
        # Runs whose pane is gone: what they started is ended before anything else.
        kept = self.pane if self.pane is not None else None if life.run is None else life.run.id
        for run_id, process in self.processes.items():
            if run_id != kept:
                process.alive = process.remains = False
                process.report = process.error = None
                process.seen = process.spawned
        self.life = life
        self.last_exit = life.last_exit
