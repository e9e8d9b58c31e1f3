"""What the tests of an agent's life say often: moments, declarations, and lives brought into a state by events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentd.harness.base import StopKey
from agentd.model.capacity import Queued
from agentd.model.spec import AgentSpec, Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.desired import DEFAULT_STOP_KEYS, DesiredAgent, Launch
from agentd.supervise.life import Effect, Instant, Life, ReportStopped, Step, StopReason
from agentd.supervise.policy import Exit

WALL = 1_000_000_000.0
"""What the wall clock shows at monotonic 0."""
PID = 4242

ALWAYS = Policy(restart=RestartPolicy.ALWAYS)
ON_FAILURE = Policy(restart=RestartPolicy.ON_FAILURE)
NO = Policy()

SUCCESS = Exit(code=0)
FAILURE = Exit(code=1)
UNKNOWN = Exit(error="ended with an unknown status: its launcher did not record it")


def at(now: float, *, run_id: str = "", jitter: float = 0.0) -> Instant:
    """A moment; a run that begins then is named after it."""
    return Instant(now, WALL + now, jitter, run_id or f"run-{now:g}")


def declared(
    policy: Policy = NO, launch: str | None = "first", keys: tuple[StopKey, ...] = DEFAULT_STOP_KEYS
) -> DesiredAgent:
    """Declare an agent; ``launch`` stands for all that makes launches differ, ``None`` for one that cannot be known."""
    spec = AgentSpec("a", "custom", "a", Path("/"), policy=policy)
    if launch is None:
        return DesiredAgent(spec, None, "the prompt file is missing", None)
    return DesiredAgent(spec, Launch((launch,), {}), None, {"argv": launch}, keys)


def waiting(policy: Policy = NO, launch: str = "first") -> DesiredAgent:
    """Declare an agent for which there is no slot."""
    return replace(declared(policy, launch), queued=Queued(1, "all slots are taken", 0.0))


@dataclass
class Story:
    """A life told event by event, with the effects of the last one."""

    life: Life = field(default_factory=lambda: Life("a"))
    effects: tuple[Effect, ...] = ()
    moment: Instant = field(default_factory=lambda: at(0))
    """Of the last event."""

    def tell(self, step: Step) -> Story:
        """Take what an event made of the life, and carry out what winds a stop down."""
        self.life, effects = step
        done: tuple[Effect, ...] = ()
        while ReportStopped() in effects:
            assert effects[-1] == ReportStopped()
            done = (*done, *effects[:-1])
            self.life, effects = lives.stopped(self.life, self.moment)
        self.effects = (*done, *effects)
        return self

    @property
    def run_id(self) -> str:
        """Id of the run there is, or of the last one."""
        assert self.life.run is not None
        return self.life.run.id

    @property
    def state(self) -> AgentState:
        """State of the life."""
        return self.life.state

    def _at(self, now: float, jitter: float = 0.0) -> Instant:
        self.moment = at(now, jitter=jitter)
        return self.moment

    def define(self, now: float, policy: Policy = NO, launch: str | None = "first", jitter: float = 0.0) -> Story:
        """Declare it."""
        return self.tell(lives.define(self.life, declared(policy, launch), self._at(now, jitter)))

    def withdraw(self, now: float, reason: StopReason = StopReason.REMOVED) -> Story:
        """Want it no longer."""
        return self.tell(lives.withdraw(self.life, reason, self._at(now)))

    def opened(self, now: float) -> Story:
        """Its pane exists."""
        return self.tell(lives.launch_opened(self.life, self.run_id, self._at(now)))

    def started(self, now: float) -> Story:
        """Its process exists."""
        return self.tell(lives.started(self.life, self.run_id, PID, self._at(now)))

    def failed(self, now: float, error: str = "no such program") -> Story:
        """Its launch fails."""
        return self.tell(lives.launch_failed(self.life, self.run_id, error, self._at(now)))

    def refused(self, now: float, error: str = "no such workdir") -> Story:
        """Its launch never begins."""
        return self.tell(lives.launch_refused(self.life, self.run_id, error, self._at(now)))

    def prerequisites_met(self, now: float, *, tried: bool = False) -> Story:
        """A look finds all that its launch needs."""
        return self.tell(lives.prerequisites_met(self.life, self._at(now), tried=tried))

    def put_off(self, now: float) -> Story:
        """Its launch is given up before anything ran."""
        return self.tell(lives.launch_put_off(self.life, self.run_id, self._at(now)))

    def exited(self, now: float, ended: Exit = FAILURE) -> Story:
        """Its process ends."""
        return self.tell(lives.exited(self.life, self.run_id, ended, self._at(now)))

    def lost(self, now: float) -> Story:
        """Its session is closed by somebody."""
        return self.tell(lives.session_lost(self.life, "its tmux session was closed", self._at(now)))

    def tick(self, now: float) -> Story:
        """Time has passed."""
        return self.tell(lives.tick(self.life, self._at(now)))

    def kill_now(self, now: float) -> Story:
        """End the stop without grace."""
        return self.tell(lives.kill_now(self.life, self._at(now)))

    def wake(self) -> tuple[float, tuple[Effect, ...]]:
        """Wait as `wait` does; returns also what is to be done then."""
        return self.wait(), self.effects

    def wait(self) -> float:
        """Let time pass until the life wants its next tick, and give it that."""
        now = lives.wake_at(self.life)
        assert now is not None, f"a life that is {self.state} waits for nothing"
        self.tick(now)
        return now


def running(policy: Policy = NO, now: float = 0.0) -> Story:
    """Tell a life up to a running process, all in one moment."""
    return Story().define(now, policy).opened(now).started(now)


def in_state(state: AgentState, policy: Policy = NO) -> Story:
    """Bring a life into a state by events alone, all at monotonic 0."""
    tales: dict[AgentState, Callable[[], Story]] = {
        AgentState.PENDING: Story,
        AgentState.QUEUED: lambda: Story().tell(lives.define(Life("a"), waiting(policy), at(0))),
        AgentState.DISABLED: lambda: Story().withdraw(0, StopReason.DISABLED),
        AgentState.STARTING: lambda: Story().define(0, policy).opened(0),
        AgentState.RUNNING: lambda: running(policy),
        AgentState.STOPPING: lambda: running(policy).define(0, policy, launch="second"),
        AgentState.BACKOFF: lambda: running(replace(policy, restart=RestartPolicy.ALWAYS)).exited(0),
        AgentState.EXITED: lambda: running(policy).exited(0, SUCCESS),
        AgentState.FAILED: lambda: running(policy).exited(0, FAILURE),
        AgentState.TIMED_OUT: lambda: running(replace(policy, timeout=0.0)).tick(0).exited(0),
    }
    story = tales[state]()
    assert story.state is state
    return story


def stale(life: Life) -> str:
    """Id of a run that is not the life's."""
    return "stale" if life.run is None or life.run.id != "stale" else "staler"
