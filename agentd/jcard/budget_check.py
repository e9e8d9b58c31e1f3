"""The table ``[budget]`` for all agents, and what of a budget is not held, since nothing tells what an agent uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ConfigDict

from agentd.jcard.budget_table import BudgetTable, budget_of
from agentd.jcard.declarations import Declaration
from agentd.jcard.findings import Findings
from agentd.jcard.part_table import read_table
from agentd.model.budgets import Budget
from agentd.model.spec import AgentType, LoadContext, SandboxKind
from agentd.model.usage_sources import says_cost
from agentd.text.quoting import quote

TABLE: Final = "budget"


class CommonTable(BudgetTable):
    """The table ``[budget]``, whose unknown keys are warnings as in other tables."""

    model_config = ConfigDict(extra="ignore")


def check_budget(declaration: Declaration, findings: Findings) -> None:
    """Warn of a budget that is not held, since nothing tells what it is about."""
    table = declaration.table
    budget = None if table is None else budget_of(table.budget)
    if table is None or budget is None:
        return
    boxed = table.type is AgentType.SANDBOXED and table.sandbox is SandboxKind.GVISOR
    if not table.turns or boxed:
        why = "it is in gVisor's sandbox" if table.turns else "turns = false"
        declaration.warning(findings, f"is not held: {why}, so its turns are not watched", "budget")
        return
    if not says_cost(table.harness):
        for key in ("usd", "day"):
            if getattr(budget, key) is not None:
                declaration.warning(findings, not_held(table.harness), "budget", key)


def not_held(harness: str) -> str:
    """Why a budget of money is not held."""
    return f"is not held: {quote(harness)} does not say what its turns cost; turns is"


def read_budget(document: Mapping[str, object], context: LoadContext, findings: Findings) -> Budget | None:
    """Read ``[budget]``; ``None`` where there is none, or the findings have what is wrong with it."""
    if context.drop_in:
        if isinstance(document.get(TABLE), dict):
            findings.warning((TABLE,), "ignored: the budget of all agents stands in the jcard itself", field=TABLE)
        return None
    return budget_of(read_table(TABLE, CommonTable, document, findings, lambda _: ()))
