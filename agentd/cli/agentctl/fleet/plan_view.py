"""Show a plan of a fleet. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from agentd.fleet.plans import Plan, Step
from agentd.fleet.protocol import AssignmentView, PlanView
from agentd.text.terminal import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Cell, Display, lines, plural

REMOVE: Final = "remove"

_MARKS: Final = {
    Step.START.value: Cell("+", GREEN),
    Step.MOVE.value: Cell("~", YELLOW),
    REMOVE: Cell("-", RED),
    Step.PENDING.value: Cell("?", RED),
    Step.WAIT.value: Cell("!", YELLOW),
    Step.STAY.value: Cell("=", DIM),
}
_UNKNOWN: Final = Cell("?", BOLD)
_HEADING: Final = ("", "STEP", "AGENT", "HOST", "FROM", "REASON")


def plan_view(plan: Plan, warnings: Sequence[str] = (), *, applied: bool = False) -> PlanView:
    """Give a plan as the API does."""
    found = [
        AssignmentView(each.agent, each.step.value, each.host, each.previous, each.reason) for each in plan.assignments
    ]
    found += (AssignmentView(agent, REMOVE, None, host, "it is wished for no more") for agent, host in plan.removed)
    return PlanView(sorted(found, key=lambda each: each.agent), list(warnings), applied)


def plan_document(plan: PlanView) -> dict[str, object]:
    """Give what ``--json`` prints."""
    return asdict(plan)


def plan_lines(plan: PlanView, display: Display, *, everything: bool = False) -> list[str]:
    """Show what changes, a line each, or `everything`; on a terminal with the totals."""
    shown = [each for each in plan.assignments if everything or each.step != Step.STAY]
    rows = [
        [
            _MARKS.get(each.step, _UNKNOWN),
            Cell(each.step),
            Cell(each.agent, BOLD),
            Cell(each.host or "", CYAN),
            Cell(each.previous if each.previous and each.previous != each.host else ""),
            Cell(each.reason),
        ]
        for each in shown
    ]
    if not display.table:
        return lines(_HEADING, rows, display)
    counts = Counter(each.step for each in plan.assignments)
    totals = ", ".join(f"{counts[step]} {_NAMES[step]}" for step in _NAMES if counts[step])
    table = lines(_HEADING, rows, display) if rows else []
    return [*table, *([""] if table else []), f"{plural(len(plan.assignments), 'agent')}: {totals or 'nothing to do'}"]


_NAMES: Final = {
    Step.START.value: "to start",
    Step.MOVE.value: "to move",
    REMOVE: "to remove",
    Step.WAIT.value: "waiting for a lost host",
    Step.PENDING.value: "pending",
    Step.STAY.value: "as they are",
}
