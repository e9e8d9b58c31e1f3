"""What the API shows of an agent's budget. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Final

from agentd.model.budgets import BreachAction, Budget
from agentd.model.status import BoundStatus, BudgetStatus
from agentd.model.usage_sources import cost_source, says_cost
from agentd.supervise.budgets import Account, Bound, BudgetUse, bounds, day_ends, day_of
from agentd.text.timestamps import rfc3339

_FOLLOWS: Final = {
    BreachAction.PAUSE: "no turn begins until there is budget again",
    BreachAction.STOP: "the agent is stopped",
    BreachAction.NOTIFY: "nothing is done about it, on_breach is notify",
}


def budget_status(
    name: str, harness: str, budget: Budget | None, use: BudgetUse | None, wall: float, zone: tzinfo
) -> BudgetStatus | None:
    """Show what an agent has used.

    Parameters
    ----------
    use
        As its watcher told it; ``None`` if it did not yet.
    wall
        Seconds since the epoch.
    zone
        Of the days.
    """
    breach = None if use is None else use.breach
    if (budget is None or not budget.limits) and breach is None:
        return None
    budget = budget or Budget()
    reason = None if breach is None else f"{breach.reason(name)}: {_FOLLOWS[breach.action]}"
    account = (Account() if use is None else use.account).on(day_of(wall, zone))
    shown = tuple(_bounds(budget, account, harness, day_ends(wall, zone)))
    return BudgetStatus(budget.action.value, shown, breach is not None, reason)


def _bounds(budget: Budget, account: Account, harness: str, day_ends_at: float) -> Iterator[BoundStatus]:
    for bound, limit in bounds(budget).items():
        own = bound is Bound.TURNS
        said = own or says_cost(harness) or account.told_at is not None
        told_at = None if own or account.told_at is None else rfc3339(account.told_at)
        yield BoundStatus(
            name=bound.value,
            limit=float(limit),
            used=float(account.used(bound)) if said else None,
            source=("agentd" if own else cost_source(harness)) if said else None,
            told_at=told_at,
            resets_at=rfc3339(day_ends_at) if bound is Bound.DAY else None,
        )
