"""What to do after an exit, and how a stop proceeds: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from agentd.harness.base import StopKey
from agentd.model.limits import OomPolicy
from agentd.model.spec import Policy, RestartPolicy

JITTER = 0.1
"""Share by which a back-off may be longer or shorter, so that agents that crashed together do not return together."""

LAST_SIGNAL = 64
"""The highest signal number of Linux (SIGRTMAX, signal(7))."""

OOM = "oom"
"""Why a run ended that the kernel took a process from for lack of memory."""

SIGNAL_BASE = 128
"""By shell convention a status over this is a signal's number plus this."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended; with neither code nor signal it is not known."""

    code: int | None = None
    signal: int | None = None
    error: str | None = None
    """Why the status is unknown or nothing ran."""
    oom: str | None = None
    """What the kernel killed for lack of memory, if that is why it ended."""

    @classmethod
    def from_status(cls, status: int) -> Exit:
        """Read `status`, a shell's ``$?``.

        What would be no signal's number, such as 255, which ``exit(-1)`` gives, is an exit code.
        """
        if SIGNAL_BASE < status <= SIGNAL_BASE + LAST_SIGNAL:
            return cls(signal=status - SIGNAL_BASE)
        return cls(code=status)

    def succeeded(self, policy: Policy) -> bool:
        """Whether ``restart = "on-failure"`` leaves it at this.

        A signal counts by its shell status (143 for SIGTERM), so that ``success_exit_codes`` can name it.
        """
        if self.oom is not None:
            return False
        status = self.code if self.signal is None else SIGNAL_BASE + self.signal
        return status is not None and status in policy.success_exit_codes

    @property
    def reason(self) -> str | None:
        """Why it ended, in a word, where that is more than its status."""
        return None if self.oom is None else OOM

    def describe(self) -> str:
        """Say it in words."""
        if self.oom is not None:
            return f"{OOM}: {self.oom}; {replace(self, oom=None).describe()}"
        if self.error is not None:
            return self.error
        if self.signal is not None:
            return f"ended by signal {self.signal}"
        if self.code is not None:
            return f"exit status {self.code}"
        return "ended with an unknown status"


@dataclass(frozen=True, slots=True)
class Restart:
    """Run again after a back-off."""

    delay: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class End:
    """Leave it ended."""

    success: bool
    error: str | None
    """Why it failed, ``None`` after success."""


def backoff(policy: Policy, restarts_counted: int, jitter: float) -> float:
    """Seconds before the next restart: the first delay, doubled with each restart, up to the cap.

    Parameters
    ----------
    restarts_counted
        Restarts since the back-off was last reset.
    jitter
        From -1 to 1, where in the range of ±10 % the delay falls; the cap holds for the result.
    """
    # 2.0 ** 1024 overflows; long before, every sensible cap is reached.
    delay = min(policy.restart_delay * 2.0 ** min(restarts_counted, 60), policy.restart_delay_max)
    return min(delay * (1 + JITTER * jitter), policy.restart_delay_max)


def counted_after(policy: Policy, restarts_counted: int, lasted: float | None) -> int:
    """Of `restarts_counted`, those that count after a run that `lasted` so many seconds (``None``: it never began)."""
    if lasted is not None and lasted >= policy.restart_reset:
        return 0
    return restarts_counted


def after_exit(policy: Policy, ended: Exit, restarts_counted: int, jitter: float, refusals: int = 0) -> Restart | End:
    """Decide what follows a run that ended by itself, or a launch that failed.

    Parameters
    ----------
    refusals
        Launches refused since then: they lengthen the back-off, and use up no restart.
    """
    success = ended.succeeded(policy)
    wanted = policy.restart is RestartPolicy.ALWAYS or (policy.restart is RestartPolicy.ON_FAILURE and not success)
    if ended.oom is not None and policy.on_oom is not None:
        wanted = policy.on_oom is OomPolicy.RESTART
    if not wanted:
        return End(success, None if success else ended.describe())
    if policy.max_restarts and restarts_counted >= policy.max_restarts:
        used = "its only restart is" if policy.max_restarts == 1 else f"all {policy.max_restarts} restarts are"
        return End(success, None if success else f"{ended.describe()}; {used} used")
    return Restart(backoff(policy, restarts_counted + refusals, jitter))


class StopAction(StrEnum):
    """What is done to an agent that should end."""

    KEY = "key"
    TERMINATE = "terminate"
    """SIGTERM to the agent's process group."""
    KILL = "kill"
    """SIGKILL to everything the agent started."""


@dataclass(frozen=True, slots=True)
class StopStep:
    """One step of a graceful stop."""

    at: float
    """On the monotonic clock."""
    action: StopAction
    key: str = ""


def stop_schedule(now: float, grace: float, keys: Sequence[StopKey], *, terminal: bool = True) -> tuple[StopStep, ...]:
    """Plan a graceful stop: keys to the terminal, SIGTERM at half of the grace period, SIGKILL at its end.

    Parameters
    ----------
    grace
        Seconds; 0 kills at once.
    terminal
        Whether there still is a terminal to type into; without one SIGTERM comes first.
    """
    kill = StopStep(now + grace, StopAction.KILL)
    if grace <= 0:
        return (kill,)
    if not terminal:
        return (StopStep(now, StopAction.TERMINATE), kill)
    typed = [StopStep(now + key.after, StopAction.KEY, key.key) for key in keys if key.after < grace / 2]
    return (*typed, StopStep(now + grace / 2, StopAction.TERMINATE), kill)
