"""A tiny model of the world an agent lives in: a pane, processes, and a worker that carries out effects in order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from agentd.model.spec import ApplyWhen, RestartPolicy
from agentd.model.states import Activity, AgentState
from agentd.model.usage_limits import LimitAction, UsageLimitPolicy
from agentd.supervise import hold_steps, limit_steps
from agentd.supervise import transitions as lives
from agentd.supervise.life import (
    ApplyLimits,
    CloseSession,
    Effect,
    GoOn,
    Instant,
    InterruptTurn,
    KillRun,
    LaunchRun,
    Life,
    LookAtUse,
    ReapRun,
    ReportStopped,
    Step,
    StopReason,
    TerminateGroup,
    TypeKey,
)
from agentd.supervise.plan import changed_parts
from agentd.supervise.policy import Exit
from agentd.supervise.usage_limits import LimitHit
from tests.supervise.lives import PID, UNKNOWN, at


@dataclass
class Process:
    """What became of one run outside the daemon."""

    spawned: bool = False
    failed: bool = False
    """Whether the launcher could not start it."""
    alive: bool = False
    remains: bool = False
    """Whether something it started may still be there."""
    seen: bool = False
    """Whether its start was reported."""
    report: Exit | None = None
    """How it ended, still to be reported."""
    error: str | None = None
    """Why the launcher could not start it, still to be reported."""


@dataclass
class World:
    """The life and what it is about."""

    life: Life = field(default_factory=lambda: Life("a"))
    now: float = 0.0
    queue: deque[Effect] = field(default_factory=deque)
    processes: dict[str, Process] = field(default_factory=dict)
    pane: str | None = None
    """Which run the pane was made for."""
    opening: str | None = None
    """The run whose pane tmux has made, but not yet confirmed."""
    runs: int = 0
    automatic: int = 0
    """Restarts by policy since the last long run, or since the definition changed: what max_restarts allows."""
    last_exit: Exit | None = None
    resumes: int = 0
    """How often it was told to go on, since a turn ended well or the policy changed."""
    limit_policy: UsageLimitPolicy | None = None
    use: tuple[str, ...] = ()
    """What speaks against a restart of it."""
    seen_use: tuple[str, ...] | None = None
    """What did when that was last looked at, for the change that waits."""

    @property
    def moment(self) -> Instant:
        """Now, with a name for a run that may begin."""
        return at(self.now, run_id=f"run-{self.runs}")

    @property
    def run_id(self) -> str:
        """The life's run."""
        return "" if self.life.run is None else self.life.run.id

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be carried out."""
        return not self.queue and self.opening is None

    def tell(self, step: Step) -> None:
        """Take what an event made of the life, and check that it could."""
        before, (self.life, effects) = self.life, step
        launches = [effect for effect in effects if isinstance(effect, LaunchRun)]
        if launches:
            self._launches(before, effects)
        assert len(launches) <= 1
        if self.life.restarts > before.restarts:
            self._restarted(before)
        elif self.life.state is AgentState.QUEUED:
            # Nothing counted from former definitions applies to what waits for a slot.
            assert self.life.restarts in (0, before.restarts)
        elif self.life.restarts < before.restarts and not launches and not self.life.gone:
            # A restart that never began.
            assert self.life.restarts == before.restarts - 1
            self.automatic -= 1
        if self.life.state is AgentState.TIMED_OUT is not before.state:
            assert self.life.began is not None
            assert self.life.policy.timeout is not None
            assert self.life.began + self.life.policy.timeout <= self.now
        if before.held is not None and self.life.stop is not None and before.stop is None:
            self._check_applied(before)
        if self.life.held is None:
            self.seen_use = None
        self.queue.extend(effects)

    def _check_applied(self, before: Life) -> None:
        """A change that waits ends no run before its time."""
        policy, run, hold = self.life.policy, self.life.run, before.hold
        assert self.life.held is None
        assert hold is not None
        assert self.life.stop is not None
        if self.life.stop.reason is not StopReason.CHANGED or (run is not None and run.ended is not None):
            return
        late = policy.apply_deadline is not None and self.now - hold.since >= policy.apply_deadline
        unused = policy.apply is ApplyWhen.IDLE and self.seen_use == ()
        said = policy.apply is ApplyWhen.NOW or policy.applied_at != before.policy.applied_at
        assert late or unused or said

    def _launches(self, before: Life, effects: tuple[Effect, ...]) -> None:
        assert effects[-1] == LaunchRun(self.run_id)
        assert self.life.state is AgentState.STARTING
        assert self.run_id == f"run-{self.runs}"
        self.runs += 1
        put_off = before.run is not None and before.run.launched is None
        assert before.run is None or put_off or before.winding_down or ReapRun() in effects
        if self.life.restarts == 0:
            self.automatic = 0

    def _restarted(self, before: Life) -> None:
        assert self.life.restarts == before.restarts + 1
        if before.stop is not None and before.stop.reason is StopReason.STALLED:
            # That it does not go on is a reason of its own to restart it.
            assert before.state is AgentState.STOPPING
            assert before.stalled is not None
            assert before.stalled.action.stops
        else:
            assert before.state in (AgentState.BACKOFF, AgentState.EXITED, AgentState.FAILED)
            assert self.life.policy.restart is not RestartPolicy.NO
        deadline = before.deadline
        assert deadline is None or deadline > self.now or self.life.policy != before.policy
        self.automatic += 1
        allowed = self.life.policy.max_restarts
        assert not allowed or self.automatic <= allowed

    # -- the worker

    def work(self, *, refuse: bool = False) -> None:
        """Carry out the next effect; a launch may be refused."""
        if self.opening is not None:
            run_id, self.opening = self.opening, None
            self.tell(lives.launch_opened(self.life, run_id, self.moment))
            return
        effect = self.queue.popleft()
        match effect:
            case LaunchRun(run_id):
                self._launch(run_id, refuse=refuse)
            case KillRun():
                self._kill()
            case ReapRun():
                self._end_all()
            case CloseSession():
                self.close_pane()
            case ReportStopped():
                assert not any(process.alive or process.remains for process in self.processes.values())
                self.tell(lives.stopped(self.life, self.moment))
            case GoOn():
                self._goes_on()
            case LookAtUse(run_id):
                self.seen_use = self.use
                self.tell(hold_steps.seen(self.life, run_id, self.use, self.moment))
            case TypeKey() | TerminateGroup() | ApplyLimits() | InterruptTurn():
                pass

    def _launch(self, run_id: str, *, refuse: bool) -> None:
        if self.life.state is not AgentState.STARTING or self.run_id != run_id or self.life.desired is None:
            self.tell(lives.launch_put_off(self.life, run_id, self.moment))
            return
        assert not any(process.alive or process.remains for process in self.processes.values()), "two runs at once"
        assert not changed_parts(self.life.fingerprint, self.life.desired.fingerprint)
        assert self.pane is None or self.life.session_open, "a session that the life does not know of"
        if refuse:
            self.tell(lives.launch_refused(self.life, run_id, "refused", self.moment))
            return
        self.processes[run_id] = Process()
        self.pane = self.opening = run_id

    def _kill(self) -> None:
        run = self.life.run
        if run is None or run.ended is not None:
            return
        self._end_all()
        process = self.processes.get(run.id)
        if process is not None and not process.seen:
            self.close_pane()
            self.tell(lives.launch_failed(self.life, run.id, "stopped before it had started", self.moment))

    def _end_all(self) -> None:
        for run_id, process in self.processes.items():
            process.remains = False
            if process.alive:
                self.end(run_id, Exit(signal=9))

    def close_pane(self) -> None:
        """The pane goes, and the launcher with it."""
        self.pane = None

    def _goes_on(self) -> None:
        policy = self.life.policy.on_usage_limit
        self.resumes += 1
        if policy is not None and policy.action is LimitAction.WAIT and policy == self.limit_policy:
            assert not policy.max_resumes or self.resumes <= policy.max_resumes

    def does(self, activity: Activity, hit: LimitHit | None) -> None:
        """A watcher says what the run is doing."""
        policy = self.life.policy.on_usage_limit
        if self.limit_policy != policy or activity is Activity.IDLE or self.life.limited is None:
            self.resumes, self.limit_policy = 0 if self.life.limited is None else self.life.limited.resumes, policy
        self.tell(limit_steps.observed(self.life, self.run_id, activity, hit, self.moment))
        if activity is Activity.IDLE and self.life.state is AgentState.RUNNING:
            assert self.life.limited is None
            self.resumes = 0

    # -- processes

    def spawn(self, run_id: str) -> None:
        """The launcher has started the agent."""
        process = self.processes[run_id]
        process.spawned = process.alive = process.remains = True

    def fail(self, run_id: str, error: str) -> None:
        """The launcher cannot start the agent."""
        process = self.processes[run_id]
        process.failed, process.error = True, error

    def end(self, run_id: str, ended: Exit) -> None:
        """The agent ends; without its launcher nobody learns how."""
        process = self.processes[run_id]
        process.alive = False
        process.report = ended if self.pane == run_id else UNKNOWN

    def report(self, run_id: str) -> None:
        """Tell the life all that a run's launcher has to say."""
        process = self.processes[run_id]
        if process.error is not None:
            error, process.error = process.error, None
            self.tell(lives.launch_failed(self.life, run_id, error, self.moment))
        if process.spawned and not process.seen:
            process.seen = True
            self.tell(lives.started(self.life, run_id, PID, self.moment))
        if process.report is not None:
            ended, process.report = process.report, None
            self._exited(run_id, ended)

    def _exited(self, run_id: str, ended: Exit) -> None:
        run = self.life.run
        if run is not None and run.id == run_id and run.ended is None:
            self.last_exit = ended
            if run.started is not None and self.now - run.started >= self.life.policy.restart_reset:
                self.automatic = 0
        self.tell(lives.exited(self.life, run_id, ended, self.moment))

    @property
    def unreported(self) -> list[str]:
        """The runs that have something to report."""
        return [
            run_id
            for run_id, process in self.processes.items()
            if process.error is not None or process.report is not None or (process.spawned and not process.seen)
        ]

    # -- time

    def advance(self, seconds: float) -> None:
        """Let time pass, with the ticks that the life asks for."""
        self.now += seconds
        for _ in range(10):
            wake = lives.wake_at(self.life)
            if wake is None or wake > self.now:
                return
            self.tell(lives.tick(self.life, self.moment))
        raise AssertionError(f"a busy loop of ticks: {self.life}")

    def settle(self) -> None:
        """Let everything happen that is under way, without time passing."""
        for _ in range(100):
            if self.unreported:
                self.report(self.unreported[0])
            elif not self.idle:
                self.work()
            else:
                return
        raise AssertionError(f"it never settles: {self.life}")
