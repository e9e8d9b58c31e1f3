"""The steps of a life whose budget is used up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from agentd.model.budgets import BreachAction
from agentd.model.spec import Policy, RestartPolicy
from agentd.model.states import AgentState
from agentd.supervise import budget_steps
from agentd.supervise.budgets import Account, Bound, Breach, BudgetUse
from agentd.supervise.life import StopReason
from agentd.supervise.policy import Exit
from agentd.supervise.record import Description, Record
from tests.supervise.lives import Story, at, running

ALWAYS = Policy(restart=RestartPolicy.ALWAYS)
SUCCESS = Exit(code=0)
WHY = "stopped at its budget: 5.5 of 5 US dollars in this run are used"


def over(story: Story, action: BreachAction = BreachAction.STOP, run: str | None = None) -> Story:
    life = story.life
    assert life.run is not None
    account = Account(run=run or life.run.id)
    use = BudgetUse(account, Breach("a", Bound.USD, Decimal("5.5"), Decimal(5), action))
    return Story(budget_steps.observed(life, life.run.id, use, at(10))[0])


def test_it_is_stopped_whatever_restart_says() -> None:
    story = over(running(ALWAYS))
    assert story.state is AgentState.STOPPING
    assert story.life.stop is not None
    assert (story.life.stop.reason, story.life.stop.error) == (StopReason.BUDGET, WHY)
    story = story.exited(11, SUCCESS)
    assert (story.state, story.life.error, story.life.due) == (AgentState.FAILED, WHY, None)


@pytest.mark.parametrize("action", [BreachAction.PAUSE, BreachAction.NOTIFY])
def test_where_it_is_not_to_be_stopped_nothing_is_done_here(action: BreachAction) -> None:
    story = running(ALWAYS)
    assert over(story, action).life is story.life


def test_what_a_former_run_used_says_nothing_of_this_one() -> None:
    story = running(ALWAYS)
    assert over(story, run="former").life is story.life


def test_a_stop_that_a_former_daemon_began_ends_as_it_would_have() -> None:
    before = over(running(ALWAYS)).life
    described = Description("custom", "native", "a", "/")
    kept = Record.parse(Record.of(before, described).dump()).life(session_open=True)
    assert kept.run is not None
    story = Story(replace(kept, run=replace(kept.run, launched=20.0))).started(20).exited(21, SUCCESS)
    assert (story.state, story.life.error) == (AgentState.FAILED, WHY)
