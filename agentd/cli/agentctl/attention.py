"""Which agents need somebody: their order, where who needs you comes first. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.model.states import Activity, AgentState
from agentd.model.status import AgentStatus

_BY_ACTIVITY: Mapping[str, int] = {
    Activity.WAITING_PERMISSION: 0,
    Activity.WAITING_INPUT: 1,
    Activity.AUTH_ERROR: 2,
    Activity.USAGE_LIMIT: 3,
    Activity.IDLE: 7,
    Activity.WORKING: 8,
}
_BY_STATE: Mapping[str, int] = {AgentState.FAILED: 4, AgentState.TIMED_OUT: 5, AgentState.BACKOFF: 6}
_OTHER = 9


def order(agent: AgentStatus) -> tuple[int, str]:
    """Sort key: whom somebody waits for first, then what failed, who is idle, who works, and the rest by name."""
    activity = agent.activity or ""
    urgency = _BY_ACTIVITY.get(activity, _BY_STATE.get(agent.state, _OTHER))
    return urgency, agent.name


def needs_somebody(agent: AgentStatus) -> bool:
    """Whether nothing goes on with this agent until somebody does something."""
    return order(agent)[0] < _BY_ACTIVITY[Activity.IDLE]
