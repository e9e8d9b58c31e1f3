"""What a change of an agent's state means to somebody who reads the log."""

from __future__ import annotations

import logging

from agentd.supervise.life import Life
from agentd.supervise.states import AgentState

_LEVELS = {
    AgentState.STARTING: logging.DEBUG,
    AgentState.FAILED: logging.WARNING,
    AgentState.TIMED_OUT: logging.WARNING,
}
"""Of the change to these states; of all others ``INFO``."""


def describe_change(before: Life, life: Life, now: float) -> tuple[int, dict[str, object]]:
    """Give the log level and the fields of a change of state."""
    fields: dict[str, object] = {"state": life.state, "was": before.state}
    run = life.run
    if life.state is AgentState.STARTING and run is not None:
        fields["run"] = run.id
    if life.state is AgentState.RUNNING and run is not None:
        fields |= {"run": run.id, "pid": run.pid, "restarts": life.restarts}
    ended = life.last_exit
    a_run_ended = any(seen is not None and seen.ended is not None for seen in (before.run, run))
    if before.state.live and a_run_ended and ended is not None:
        fields |= {"exit_code": ended.code, "exit_signal": ended.signal}
    if life.stop is not None:
        fields["reason"] = life.stop.reason
    if life.state is AgentState.BACKOFF and life.due is not None:
        fields["restart_in_seconds"] = round(life.due - now, 3)
    if life.error is not None:
        fields["error"] = life.error
    level = _LEVELS.get(life.state, logging.INFO)
    return max(level, logging.INFO) if before.state.live else level, fields
