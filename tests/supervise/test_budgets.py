"""What agents have used of their budgets: accounts, breaches and days, without clock or I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.budgets import BreachAction, Budget
from agentd.supervise.budgets import (
    Account,
    Bound,
    Breach,
    breaches,
    day_ends,
    day_of,
    dollars,
    launch_breach,
    shown,
    strongest,
)

BERLIN = ZoneInfo("Europe/Berlin")
STOP, PAUSE, NOTIFY = BreachAction.STOP, BreachAction.PAUSE, BreachAction.NOTIFY


def test_a_new_run_begins_anew_and_the_same_one_does_not() -> None:
    account = Account().began("r1").turn_began("t1").cost(Decimal("1.5"), "2026-03-01", 5.0)
    assert account.began("r1") == account
    again = account.began("r2")
    assert again == replace(Account(), run="r2", day="2026-03-01", day_usd=Decimal("1.5"), told_at=5.0)


def test_a_turn_that_is_told_again_counts_once() -> None:
    account = Account().began("r").turn_began("t1").turn_began("t1").turn_began("t2")
    assert account.run_turns == 2
    assert Account().turn_began("").turn_began("").run_turns == 2
    assert Account().turn_began("").named("t1").turn_began("t1").run_turns == 1


def test_another_day_begins_anew_with_money_alone() -> None:
    account = Account().cost(Decimal(3), "2026-03-01", 5.0)
    assert account.on("2026-03-01") == account
    assert account.on("2026-03-02").day_usd == 0
    assert account.on("2026-03-02").run_usd == 3
    assert account.cost(Decimal(1), "2026-03-02", 6.0).day_usd == 1


@given(st.lists(st.decimals(min_value=0, max_value=100, places=6), max_size=30))
def test_sums_are_exact(costs: list[Decimal]) -> None:
    account = Account()
    for cost in costs:
        account = account.cost(dollars(float(cost)), "d", 1.0)
    assert account.run_usd == account.day_usd == sum(costs)


def test_the_last_turn_that_is_allowed_is_not_cut_off() -> None:
    budget, account = Budget(turns=2), replace(Account(), run_turns=2)
    assert breaches("a", budget, account, in_turn=True) == ()
    assert breaches("a", budget, account, in_turn=False) == (Breach("a", Bound.TURNS, 2, 2, PAUSE),)
    (third,) = breaches("a", budget, replace(account, run_turns=3), in_turn=True)
    assert third.text == "3 of 2 turns in this run are used"


@pytest.mark.parametrize(("used", "over"), [("4.999999", False), ("5", True), ("5.000001", True)])
def test_money_is_used_up_at_the_limit_in_a_turn_too(used: str, over: bool) -> None:
    account = Account().cost(Decimal(used), "d", 1.0)
    for budget in (Budget(usd=Decimal(5)), Budget(day=Decimal(5))):
        assert bool(breaches("a", budget, account, in_turn=True)) is over
    assert breaches("a", None, account, in_turn=True) == ()


def test_a_stop_decides_before_a_pause_and_that_before_a_notice() -> None:
    found = tuple(Breach("a", Bound.USD, 1, 1, action) for action in (NOTIFY, PAUSE, STOP))
    assert [strongest(found[:most], stays=True) for most in (0, 1, 2, 3)] == [None, *found]
    # One that is not there between its turns cannot be paused.
    paused = strongest(found[:2], stays=False)
    assert paused is not None
    assert paused.action is STOP
    assert strongest(found[:1], stays=False) == found[0]


def test_whose_budget_it_is_is_said() -> None:
    breach = Breach("boss", Bound.DAY, Decimal("40.12"), Decimal(40), PAUSE)
    assert breach.reason("Boss") == "40.12 of 40 US dollars today are used"
    assert breach.reason("w") == "40.12 of 40 US dollars today are used by boss, which spawned it"


@pytest.mark.parametrize(
    ("number", "text"),
    [(Decimal("5.500000000"), "5.5"), (Decimal(100), "100"), (Decimal("0.000001"), "0.000001"), (50, "50")],
)
def test_numbers_are_shown_without_noughts(number: Decimal | int, text: str) -> None:
    assert shown(number) == text


@pytest.mark.parametrize(
    ("at", "day", "hours"),
    [
        (datetime(2026, 3, 28, 23, 30, tzinfo=BERLIN), "2026-03-28", 0.5),
        (datetime(2026, 3, 29, 0, 0, tzinfo=BERLIN), "2026-03-29", 23),
        (datetime(2026, 10, 25, 0, 0, tzinfo=BERLIN), "2026-10-25", 25),
    ],
)
def test_a_day_is_one_of_the_zone_also_where_its_clocks_change(at: datetime, day: str, hours: float) -> None:
    wall = at.timestamp()
    assert day_of(wall, BERLIN) == day
    assert day_ends(wall, BERLIN) == wall + hours * 3600
    assert day_of(day_ends(wall, BERLIN), BERLIN) > day


@pytest.mark.parametrize(
    ("budget", "spent", "whose", "held"),
    [
        (Budget(day=Decimal(1)), Decimal(1), "a", True),
        (Budget(day=Decimal(1)), Decimal("0.9"), "a", False),
        (Budget(day=Decimal(1), on_breach=NOTIFY), Decimal(2), "a", False),
        (Budget(usd=Decimal(1)), Decimal(2), "a", False),
        (Budget(usd=Decimal(1)), Decimal(2), "boss", True),
        (Budget(turns=1), Decimal(0), "boss", False),
    ],
)
def test_a_launch_is_held_by_what_another_run_does_not_bring_back(
    budget: Budget, spent: Decimal, whose: str, held: bool
) -> None:
    account = Account(run="r", run_turns=5).cost(spent, "2026-11-30", 0.0)
    assert (launch_breach("a", [(whose, budget, account)]) is not None) is held
