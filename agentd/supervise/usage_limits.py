"""What follows when an agent has hit its usage limit: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from hashlib import blake2b
from typing import Final

from agentd.model.usage_limits import Hours, LimitAction, UsageLimitPolicy
from agentd.text.durations import format_duration

UNTOLD: Final = 1800.0
"""Seconds after which an agent goes on whose program does not say when the limit resets."""

AGAIN: Final = 60.0
"""Seconds after which an agent that could not be told to go on is told again."""

_FRACTIONS: Final = 2.0**64


@dataclass(frozen=True, slots=True)
class LimitHit:
    """A usage limit that a run has hit, as its watcher tells it."""

    at: float
    """When, in seconds since the epoch."""
    resets_at: float | None
    """When the limit resets, in seconds since the epoch; ``None`` if the program does not say."""
    source: str
    """The witness."""
    text: str | None = None
    """What the program said, in one line."""
    retries: bool = False
    """Whether the program tries again by itself when it resets."""


@dataclass(frozen=True, slots=True)
class Limited:
    """An agent that has hit its usage limit, or has gone on since without ending a turn well."""

    hit: LimitHit | None
    """``None`` while it goes on."""
    resumes: int = 0
    """How often it was told to go on since a turn last ended well."""
    due: float | None = None
    """When it is to be told to go on, in seconds since the epoch; ``None`` if it is not."""
    why: str | None = None
    """What follows, and why."""
    told: bool = False
    """Whether it was told to go on, and nothing was seen of that yet."""
    look: float | None = None
    """When to see whether it is due, monotonic: the wall clock may be set, and a suspended machine's stands still."""

    @property
    def kept(self) -> Limited:
        """What of it a later daemon must know."""
        return replace(self, look=None)

    @property
    def taken_up(self) -> Limited:
        """As a later daemon takes it up: it tells once more, by the same number, what may not have been told.

        Nothing else would ever have such an agent go on, and what was told by that number is not told twice.
        """
        if not self.told or self.hit is None:
            return self
        why = "it was to be told to go on when agentd ended"
        return replace(self, told=False, due=self.hit.at, why=why, resumes=max(0, self.resumes - 1))


def spread(agent: str, run_id: str) -> float:
    """Where in the span of the jitter this run of this agent goes on, from 0 to 1."""
    digest = blake2b(f"{agent}\0{run_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / _FRACTIONS


def decide(policy: UsageLimitPolicy | None, limited: Limited, share: float, zone: tzinfo) -> Limited:
    """Decide what follows a limit that was hit.

    Parameters
    ----------
    share
        Where in the span of the jitter, from 0 to 1.
    zone
        The agent's, for the hours in which it may go on.
    """
    hit = limited.hit
    if hit is None or limited.told:
        return limited
    limited = replace(limited, due=None, why=None, look=None)
    if policy is None:
        return limited
    match policy.action:
        case LimitAction.NOTIFY:
            return replace(limited, why="nothing is done about it, on_usage_limit is notify")
        case LimitAction.STOP:
            return replace(limited, why="the agent is stopped, on_usage_limit is stop")
        case LimitAction.WAIT:
            return _wait(policy, limited, hit, share, zone)


def _wait(policy: UsageLimitPolicy, limited: Limited, hit: LimitHit, share: float, zone: tzinfo) -> Limited:
    if hit.retries:
        return replace(limited, why="its program tries again by itself once the limit has reset")
    if policy.max_resumes and limited.resumes >= policy.max_resumes:
        return replace(limited, why=f"it has gone on {limited.resumes} times since a turn ended well, max_resumes")
    if hit.resets_at is None:
        begin = hit.at + UNTOLD
        why = f"its program does not say when the limit resets: it tries again after {format_duration(UNTOLD)}"
    else:
        begin, why = max(hit.at, hit.resets_at), "it goes on once the limit has reset"
    opens = begin if policy.hours is None else _opens(policy.hours, begin, zone)
    due = opens + policy.jitter * share
    if policy.hours is not None and not _within(policy.hours, _minute(due, zone)):
        # Spread past the end of its hours: at the begin of the next, spread again.
        opens = _opens(policy.hours, due, zone)
        due = opens + policy.jitter * share
    if opens != begin:
        why += f", in the hours {policy.hours} alone"
    return replace(limited, due=due, why=why)


def _within(hours: Hours, minute: int) -> bool:
    if hours.begin < hours.end:
        return hours.begin <= minute < hours.end
    return minute >= hours.begin or minute < hours.end


def _minute(at: float, zone: tzinfo) -> int:
    local = datetime.fromtimestamp(at, zone)
    return local.hour * 60 + local.minute


def _opens(hours: Hours, at: float, zone: tzinfo) -> float:
    """The first moment from `at` on that is within these hours."""
    if _within(hours, _minute(at, zone)):
        return at
    local = datetime.fromtimestamp(at, zone)
    opening = local.replace(hour=hours.begin // 60, minute=hours.begin % 60, second=0, microsecond=0, fold=0)
    if opening <= local:
        opening += timedelta(days=1)
    # A time that a change of the clocks leaves out is taken as an hour later.
    return opening.timestamp()
