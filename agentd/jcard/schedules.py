"""Check and read the fields about an agent's schedule."""

from __future__ import annotations

from typing import Final

from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.jcard.table import AgentTable
from agentd.model.order import Schedule
from agentd.model.spec import RestartPolicy
from agentd.text.quoting import quote

_OF_SCHEDULES: Final = ("time_zone", "catch_up", "overlap")


def schedule_of(table: AgentTable) -> Schedule | None:
    """Read when an agent is started."""
    if table.schedule is None:
        return None
    return Schedule(" ".join(table.schedule.split()), table.time_zone, table.catch_up, table.overlap)


def check_schedule(declaration: Declaration, findings: Findings) -> None:
    """Warn of what cannot be meant."""
    table = declaration.table
    if table is None:
        return
    if table.schedule is None:
        for field in _OF_SCHEDULES:
            if getattr(table, field) != AgentTable.model_fields[field].default:
                declaration.warning(findings, "has no effect without schedule", field)
    elif table.restart is RestartPolicy.ALWAYS:
        message = f"found {quote(RestartPolicy.ALWAYS)} beside schedule: a run is never over, so no other start is made"
        declaration.warning(findings, f"{message}; use {quote(RestartPolicy.ON_FAILURE)} or leave it out", "restart")
