"""What agents have of the budgets of others: of ``[budget]``, and workers of whoever spawned them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.model.budgets import Budget
from agentd.model.spec import AgentSpec
from agentd.model.usage_sources import says_cost
from agentd.text.quoting import quote

NOTHING = Budget()

_MOST_NAMED: Final = 3


def inherit(specs: Iterable[AgentSpec], common: Budget | None) -> Mapping[str, AgentSpec]:
    """Give the agents whose budget says more with what they inherit, by name.

    Each number that an agent does not say itself is as whoever spawned it has it, and in the end as `common`.
    """
    by_name = {spec.name.lower(): spec for spec in specs}
    if common is None and all(spec.policy.budget is None for spec in by_name.values()):
        return {}
    found: dict[str, AgentSpec] = {}
    for spec in by_name.values():
        budget = NOTHING
        for each in _chain(spec, by_name):
            budget = budget.within(each.policy.budget or NOTHING)
        budget = budget.within(common or NOTHING)
        if budget not in (NOTHING, spec.policy.budget):
            found[spec.name] = replace(spec, policy=replace(spec.policy, budget=budget))
    return found


def _chain(spec: AgentSpec, by_name: Mapping[str, AgentSpec]) -> Iterator[AgentSpec]:
    """An agent, the one that spawned it, and so on."""
    seen = set[str]()
    at: AgentSpec | None = spec
    while at is not None and at.name not in seen:
        seen.add(at.name)
        yield at
        by = None if at.worker is None else at.worker.spawned_by
        at = None if by is None else by_name.get(by.lower())


def not_held(common: Budget | None, specs: Iterable[AgentSpec]) -> str | None:
    """Say of which agents the money of ``[budget]`` is not held, since nobody says what their turns cost."""
    if common is None or (common.usd is None and common.day is None):
        return None
    silent = [spec for spec in specs if spec.enabled and not says_cost(spec.harness)]
    if not silent:
        return None
    names = ", ".join(quote(spec.name) for spec in silent[:_MOST_NAMED])
    names += " …" if len(silent) > _MOST_NAMED else ""
    harnesses = " and ".join(sorted({spec.harness for spec in silent}))
    return f"usd and day are not held for {names}: what turns of {harnesses} cost is not said; turns is held"
