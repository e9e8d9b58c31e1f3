"""The states of runs and sessions, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class SessionStatus(StrEnum):
    """Whether a session takes messages."""

    OPEN = "open"
    CLOSED = "closed"


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_INPUT = "awaiting_input"
    """The agent asks somebody."""
    AWAITING_PARENT = "awaiting_parent"
    """It asks the session that spawned its own."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"

    @property
    def terminal(self) -> bool:
        """Whether it is over."""
        return self in TERMINAL

    @property
    def active(self) -> bool:
        """Whether its agent is at it."""
        return self in ACTIVE


TERMINAL: Final = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED, RunStatus.TIMED_OUT})
ACTIVE: Final = frozenset({RunStatus.RUNNING, RunStatus.AWAITING_INPUT, RunStatus.AWAITING_PARENT})

NEXT: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELED}),
    RunStatus.RUNNING: TERMINAL | {RunStatus.AWAITING_INPUT, RunStatus.AWAITING_PARENT},
    # Who waits can also be ended from outside: by its agent's end, a cancel or a time-out.
    RunStatus.AWAITING_INPUT: TERMINAL - {RunStatus.SUCCEEDED} | {RunStatus.RUNNING},
    RunStatus.AWAITING_PARENT: TERMINAL - {RunStatus.SUCCEEDED} | {RunStatus.RUNNING},
    **{status: frozenset[RunStatus]() for status in TERMINAL},
}
"""What may follow each state."""


def legal(before: RunStatus, after: RunStatus) -> bool:
    """Whether a run may go from one state to another."""
    return after in NEXT[before]
