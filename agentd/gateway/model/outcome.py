"""How a run ends with its agent's turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.gateway.model.follow import NotDelivered, TurnEnded
from agentd.gateway.model.objects import RunError
from agentd.gateway.model.states import RunStatus

_FAILURES: Final = {"usage_limit": "usage_limit", "auth_error": "auth_error"}
"""Codes of failures that somebody must act on; that of others is `HARNESS_FAILED`."""

HARNESS_FAILED: Final = "harness_failed"
WORKER_LOST: Final = "worker_lost"
NOT_READY: Final = "agent_not_ready"
TIMEOUT: Final = "timeout"
INTERRUPTED: Final = "interrupted"


@dataclass(frozen=True, slots=True)
class Exit:
    """How an agent's process ended."""

    code: int | None
    signal: int | None

    def __str__(self) -> str:
        """Say it in words."""
        if self.signal is not None:
            return f"the agent ended by signal {self.signal}"
        return f"the agent ended with exit code {self.code}"


def outcome_of(ended: TurnEnded | NotDelivered, exit_: Exit | None) -> tuple[RunStatus, RunError | None]:
    """Say how a run ends.

    Parameters
    ----------
    exit_
        How the agent ended, if it did in this turn.
    """
    if isinstance(ended, NotDelivered):
        if ended.status == "expired":
            return RunStatus.TIMED_OUT, RunError(TIMEOUT, "the agent was busy for too long")
        if ended.status == "withdrawn":
            return RunStatus.CANCELED, RunError(INTERRUPTED, "the message was withdrawn")
        reason = ended.error or "the message was not delivered"
        return RunStatus.FAILED, RunError(WORKER_LOST, reason if exit_ is None else f"{exit_}: {reason}")
    match ended.outcome:
        case "completed":
            return RunStatus.SUCCEEDED, None
        case "interrupted":
            return RunStatus.CANCELED, RunError(INTERRUPTED, "the turn was interrupted at the agent's terminal")
        case "failed":
            code = _FAILURES.get(ended.failure or "", HARNESS_FAILED)
            return RunStatus.FAILED, RunError(code, ended.error or "the agent's turn failed")
        case _:
            reason = ended.error or "the turn was lost"
            return RunStatus.FAILED, RunError(WORKER_LOST, reason if exit_ is None else str(exit_))
