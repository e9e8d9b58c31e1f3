"""What users are shown of their agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentd.gateway.model.managed import ManagedAgent
from agentd.gateway.model.objects import Json, JsonObject
from agentd.model.states import AgentState
from agentd.text.timestamps import rfc3339_milliseconds

STOPPED = "stopped"
UNKNOWN = "unknown"
"""agentd does not answer, or has not seen its declaration yet."""


@dataclass(frozen=True, slots=True)
class ManagedView:
    """An agent and its state."""

    agent: ManagedAgent
    shown: Mapping[str, Json] | None
    """As agentd shows it; ``None`` if it does not."""

    @property
    def status(self) -> str:
        """How it does: agentd's word, but for one that is not to run."""
        state = None if self.shown is None else self.shown.get("state")
        if state == AgentState.DISABLED or (state is None and not self.agent.enabled):
            return STOPPED
        return state if isinstance(state, str) else UNKNOWN

    def json(self) -> JsonObject:
        """Give what clients see."""
        agent, shown = self.agent, self.shown or {}
        return {
            "agent": agent.shown_name,
            "name": agent.name,
            "username": agent.username,
            "status": self.status,
            "pid": shown.get("pid"),
            "harness": agent.harness,
            "type": shown.get("type"),
            "agentd_name": agent.agent,
            "session_id": agent.session_id,
            "activity": shown.get("activity"),
            "restarts": shown.get("restarts"),
            "error": shown.get("error"),
            "started_at": shown.get("started_at"),
            "created_at": rfc3339_milliseconds(agent.created_at),
            **agent.definition,
        }
