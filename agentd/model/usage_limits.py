"""What is to be done with an agent that has hit the usage limit of its account."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DAY: Final = 24 * 60
"""Minutes."""


class LimitAction(StrEnum):
    """What follows when an agent has hit its usage limit."""

    WAIT = "wait"
    """It goes on once the limit has reset."""
    STOP = "stop"
    """It is stopped."""
    NOTIFY = "notify"
    """An event tells, and nothing else is done."""


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of each day, past midnight if it ends before it begins."""

    begin: int
    """Minutes after midnight."""
    end: int
    """Minutes after midnight, of which this is the first outside."""

    def __str__(self) -> str:
        return f"{_clock(self.begin)}-{_clock(self.end)}"


@dataclass(frozen=True, slots=True)
class UsageLimitPolicy:
    """What is done at a usage limit."""

    action: LimitAction
    jitter: float = 120.0
    """Seconds over which the agents of a fleet are spread when they go on."""
    max_resumes: int = 3
    """How often an agent goes on by itself before a turn ends well; 0 is no limit."""
    hours: Hours | None = None
    """When it may go on; ``None`` is always."""


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
