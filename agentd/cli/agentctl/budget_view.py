"""Says what an agent has used of its budget."""

from __future__ import annotations

import time
from typing import Final

from agentd.model.status import BoundStatus, BudgetStatus
from agentd.text.terminal import span
from agentd.text.timestamps import from_rfc3339

_OF: Final = {"usd": "US dollars in this run", "day": "US dollars today", "turns": "turns in this run"}


def budget_line(budget: BudgetStatus) -> str:
    """All its numbers, with who says them and when, and what follows."""
    follows = f"on breach {budget.on_breach}" if budget.reason is None else f"used up: {budget.reason}"
    return "; ".join([*(_bound(bound) for bound in budget.bounds), follows])


def _bound(bound: BoundStatus) -> str:
    of = f"{_number(bound.limit)} {_OF.get(bound.name, bound.name)}"
    if bound.used is None:
        return f"? of {of} (not held: nobody says what its turns cost)"
    return f"{_number(bound.used)} of {of} ({_source(bound)})"


def _source(bound: BoundStatus) -> str:
    if bound.name == "turns":
        return f"{bound.source}'s count"
    if bound.told_at is None:
        return f"{bound.source}, which said nothing yet"
    age = time.time() - from_rfc3339(bound.told_at)
    return f"{bound.source}, {span(max(0, round(age)))} ago"


def _number(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")
