"""What the routes of managed agents answer, for ``/openapi.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, JsonValue, RootModel

from agentd.gateway.http.shapes import ErrorShape, Shape


class ManagedErrorShape(ErrorShape):
    """Any error below ``/agents``."""

    detail: str
    """The message again."""


class ManagedAgent(Shape):
    """An agent that a user made, and its state."""

    agent: str
    """USERNAME/NAME."""
    name: str
    username: str
    status: str
    """agentd's state of it; ``stopped`` for one that is not to run, ``unknown`` while agentd does not tell."""
    pid: int | None
    harness: str
    type: str | None
    agentd_name: str
    """USERNAME--NAME, by which agentd and tmux know it."""
    session_id: str
    """Of its own conversation."""
    activity: str | None
    restarts: int | None
    error: str | None
    started_at: AwareDatetime | None
    created_at: AwareDatetime
    subagents: list[dict[str, JsonValue]]
    json_config: dict[str, JsonValue]
    """As it was sent; what may be secret is ``***``."""
    initial_task: str | None


class MadeAgent(ManagedAgent):
    """What became of it."""

    message: str


class ManagedAgents(RootModel[list[ManagedAgent]]):
    """All that the caller sees."""


class DeletedAgent(Shape):
    """The result of deleting an agent."""

    message: str
    agent: str


class AgentLogs(Shape):
    """What an agent did."""

    agent: str
    logs: list[str]
    """Lines, the newest last: a time, the agent, and what happened."""


class ConfirmationShape(Shape):
    """A tool that waits, or waited, until somebody lets it run."""

    request_id: str
    server_name: str
    tool_name: str
    arguments: dict[str, JsonValue]
    timestamp: AwareDatetime
    timeout_ms: int
    agent_name: str
    session_id: str
    default: bool
    """What counts if nobody answers in time."""
    deadline: AwareDatetime
    confirmed: bool | None
    """What was decided; null while nobody did."""
    decided_by: Literal["user", "default", "terminal", "nobody"] | None


class ConfirmationsAnswer(Shape):
    """Those that wait."""

    confirmations: list[ConfirmationShape]


class ConfirmationAnswer(Shape):
    """One of them."""

    confirmation: ConfirmationShape
