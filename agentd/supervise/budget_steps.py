"""The steps of a life whose budget is used up; no clock, no I/O."""

from __future__ import annotations

from dataclasses import replace

from agentd.model.budgets import BreachAction
from agentd.model.states import AgentState
from agentd.supervise.budgets import BudgetUse
from agentd.supervise.life import Instant, Life, Step, StopReason
from agentd.supervise.steps import request_stop


def observed(life: Life, run_id: str, use: BudgetUse | None, at: Instant) -> Step:
    """Take which budget holds up a run, if one does: it is stopped, if that is what is declared.

    Where it is to be paused, its watcher does that.

    Parameters
    ----------
    use
        As the watcher told it last: of a former run, if it has not heard of this one.
    """
    run, breach = life.run, None if use is None or use.account.run != run_id else use.breach
    if run is None or run.id != run_id or life.state is not AgentState.RUNNING:
        return life, ()
    if breach is None or breach.action is not BreachAction.STOP:
        return life, ()
    # Kept: a daemon that finds only its end must not take that for one which its restart policy answers.
    life = replace(life, over_budget=f"stopped at its budget: {breach.reason(life.name)}")
    return request_stop(life, StopReason.BUDGET, at, error=life.over_budget)
