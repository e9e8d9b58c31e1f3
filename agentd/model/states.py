"""The states and the activities of an agent, as the status API names them."""

from __future__ import annotations

from enum import StrEnum


class AgentState(StrEnum):
    """Where an agent is in its life."""

    PENDING = "pending"
    """Declared, not launched yet."""
    QUEUED = "queued"
    """To be launched once there is a slot for it, and those it comes after have ended."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    """Waiting to restart."""
    EXITED = "exited"
    """Ended with success, no restart."""
    FAILED = "failed"
    """Ended in failure or could not launch, no restart left."""
    TIMED_OUT = "timed_out"
    DISABLED = "disabled"

    @property
    def live(self) -> bool:
        """Whether the agent's own process lives: what the API's ``running`` says."""
        return self in (AgentState.RUNNING, AgentState.STOPPING)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens until the definition changes."""
        return self in (AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT)


class Activity(StrEnum):
    """What a running agent is doing: whose move it is."""

    WORKING = "working"
    WAITING_PERMISSION = "waiting_permission"
    """It asks whether it may do something."""
    WAITING_INPUT = "waiting_input"
    """It asks a question."""
    IDLE = "idle"
    """Its turn has ended; it takes the next message."""
    USAGE_LIMIT = "usage_limit"
    """Its last turn ended at a limit of its account."""
    AUTH_ERROR = "auth_error"
    """Its last turn ended because its credentials were refused."""
    UNKNOWN = "unknown"
    """Nothing tells."""
