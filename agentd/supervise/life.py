"""The life of one agent as frozen values, and the effects that its transitions ask for.

How one follows from another is in `agentd.supervise.transitions`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from enum import StrEnum

from agentd.harness.base import StopKey
from agentd.model.capacity import Claims
from agentd.model.spec import Policy
from agentd.model.states import AgentState
from agentd.supervise.applying import Hold
from agentd.supervise.desired import DEFAULT_STOP_KEYS, DesiredAgent
from agentd.supervise.plan import Fingerprint, ObservedView
from agentd.supervise.policy import Exit, StopStep
from agentd.supervise.stalls import Stalled
from agentd.supervise.usage_limits import Limited


@dataclass(frozen=True, slots=True)
class Instant:
    """The moment of an event, with jitter and an id for a run that it may begin."""

    now: float
    """Seconds on the monotonic clock."""
    wall: float
    """Seconds since the epoch; only for people."""
    jitter: float = 0.0
    """From -1 to 1."""
    run_id: str = ""
    """Name for a run, should one begin."""
    zone: tzinfo = UTC
    """The agent's time zone."""

    def earlier(self, seconds: float) -> Instant:
        """The same moment, that many seconds ago."""
        seconds = max(0.0, seconds)
        return replace(self, now=self.now - seconds, wall=self.wall - seconds)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an agent."""

    id: str
    launched: float | None = None
    """When its pane was there, monotonic."""
    started: float | None = None
    """When its process existed, monotonic."""
    started_wall: float | None = None
    pid: int | None = None
    ended: float | None = None
    restart: bool = False
    """Whether its launch is one of the restarts."""
    oom_kills: int = 0
    """Processes of it that the kernel killed for lack of memory, as far as that was reported."""
    oom_at: float | None = None
    """When the last one was, monotonic."""
    resume: bool | None = None
    """Whether its launch goes on with the conversation of the last run; ``None`` is as declared."""

    def lasted(self) -> float | None:
        """Seconds it ran, ``None`` if it never did."""
        if self.started is None or self.ended is None:
            return None
        # Both are told by the age of a file, whose clock is coarser than ours.
        return max(0.0, self.ended - self.started)


class StopReason(StrEnum):
    """Why a run is being stopped."""

    REMOVED = "removed"
    DISABLED = "disabled"
    CHANGED = "changed"
    TIMEOUT = "timeout"
    SESSION_LOST = "session lost"
    USAGE_LIMIT = "usage limit"
    STALLED = "stalled"
    BUDGET = "budget"
    NOT_STARTED = "not started"
    SHUTDOWN = "shutdown"

    @property
    def leaving(self) -> bool:
        """Whether nothing of the agent stays after the stop."""
        return self in (StopReason.REMOVED, StopReason.DISABLED)


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop under way."""

    reason: StopReason
    grace: float
    """Seconds from the first signal to SIGKILL."""
    steps: tuple[StopStep, ...]
    """What is still to be done, in order of time."""
    error: str | None = None


_MORTAL = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF})
"""States in which a timeout runs."""


@dataclass(frozen=True, slots=True)
class Life:
    """Everything agentd knows of one agent."""

    name: str
    state: AgentState = AgentState.PENDING
    desired: DesiredAgent | None = None
    """What is declared now; ``None`` after adoption without a configuration, and once withdrawn. While a change waits,
    what was declared before it."""
    held: DesiredAgent | None = None
    """What is declared now, while it waits to be applied."""
    hold: Hold | None = None
    """That wait; after adoption there is one before there is a declaration."""
    policy: Policy = Policy()
    """In force."""
    fingerprint: Fingerprint | None = None
    """Of the launch in force, or of the last one."""
    claims: Claims | None = None
    """What the launch in force, or the last one, takes of the capacity; ``None`` if that was not counted."""
    stop_keys: tuple[StopKey, ...] = DEFAULT_STOP_KEYS
    run: Run | None = None
    """The run there is, or the last one."""
    last_exit: Exit | None = None
    """Of the last process that ended."""
    outcome: Exit | None = None
    """How the last run ended as policy judges it: also a launch that failed, or a session that was lost."""
    error: str | None = None
    restarts: int = 0
    """By policy, since the definition last changed; what the API shows."""
    counted: int = 0
    """Restarts that count against ``max_restarts`` and for the back-off."""
    refusals: int = 0
    """Launches in a row that were refused, because something that they need was missing; they use up no restart."""
    began: float | None = None
    """When the first run of this definition was launched, monotonic: the timeout counts from here."""
    began_wall: float | None = None
    due: float | None = None
    """When the back-off is over, monotonic."""
    stop: Stop | None = None
    limited: Limited | None = None
    """The usage limit that it is at, or has gone on from."""
    stalled: Stalled | None = None
    """What was tried since it last went on; ``None`` if nothing was."""
    over_budget: str | None = None
    """Why it is stopped for its budget, if it is."""
    session_open: bool = False
    gone: bool = False
    """Whether nothing is left of it and it can be forgotten."""

    @property
    def deadline(self) -> float | None:
        """When the timeout strikes, monotonic."""
        if self.began is None or self.policy.timeout is None or self.state not in _MORTAL:
            return None
        return self.began + self.policy.timeout

    @property
    def declared(self) -> DesiredAgent | None:
        """What is declared now, applied or not."""
        return self.desired if self.held is None else self.held

    @property
    def refused(self) -> bool:
        """Whether its last launch was refused, so that it is to be launched once all is there."""
        if not self.refusals or self.run is None or self.stop is not None or self.desired is None:
            return False
        # One that failed may have run before, and its policy ended it since.
        return self.state is AgentState.BACKOFF or (self.state is AgentState.FAILED and not self.run.restart)

    @property
    def winding_down(self) -> bool:
        """Whether its process has ended, and what it left is being ended too: it shows its former state until then."""
        return self.stop is not None and (self.state is not AgentState.STOPPING or self._ended)

    @property
    def _ended(self) -> bool:
        return self.run is None or self.run.ended is not None

    @property
    def view(self) -> ObservedView:
        """What the plan needs to know."""
        leaving = self.stop is not None and self.stop.reason.leaving
        use, since = (None, None) if self.hold is None else (self.hold.use, self.hold.since)
        view = ObservedView(self.name, self.state, self.policy, self.fingerprint, self.session_open, leaving)
        return view if since is None else replace(view, use=use, held_since=since)


# -- effects


@dataclass(frozen=True, slots=True)
class LaunchRun:
    """Launch the life's desired agent as this run."""

    run_id: str


@dataclass(frozen=True, slots=True)
class TypeKey:
    """Type a key into the agent's terminal."""

    key: str


@dataclass(frozen=True, slots=True)
class TerminateGroup:
    """SIGTERM to the agent's process group."""


@dataclass(frozen=True, slots=True)
class KillRun:
    """SIGKILL to everything the run started, the agent first."""


@dataclass(frozen=True, slots=True)
class ReapRun:
    """SIGKILL what an ended run left behind, and wait until it is gone."""


@dataclass(frozen=True, slots=True)
class ApplyLimits:
    """Hold the run there is to the limits of the policy in force."""


@dataclass(frozen=True, slots=True)
class LookAtUse:
    """Look whether the run there is is in use: call `hold_steps.seen`."""

    run_id: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """Tell the run there is to go on, after a usage limit."""

    run_id: str
    number: int
    """How often it was told so since a turn ended well, with this."""


@dataclass(frozen=True, slots=True)
class InterruptTurn:
    """Interrupt the turn of the run there is, which does not go on."""

    run_id: str


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Close the agent's pane, and its session with it."""


@dataclass(frozen=True, slots=True)
class ReportStopped:
    """All effects before this one are done: call `stopped`."""


Effect = (
    LaunchRun
    | TypeKey
    | TerminateGroup
    | KillRun
    | ReapRun
    | ApplyLimits
    | LookAtUse
    | GoOn
    | InterruptTurn
    | CloseSession
    | ReportStopped
)
Step = tuple[Life, tuple[Effect, ...]]
