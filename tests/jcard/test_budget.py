"""The field ``budget``: what an agent may use up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal

import jsonschema
import pydantic_core
import pytest

from agentd.cli.agentctl.preview import _policy
from agentd.jcard.schema import agent_schema
from agentd.model.budgets import BreachAction, Budget
from agentd.model.spec import Policy
from tests.jcard.loading import agent_of, errors_of, warnings_of


def written(value: str, harness: str = "claude-code") -> str:
    return f'[agent]\nname = "x"\nharness = "{harness}"\nbudget = {value}\n'


@pytest.mark.parametrize(
    ("value", "budget"),
    [
        ('{ usd = "5/run" }', Budget(usd=Decimal(5))),
        ('{ usd = "5.50", day = "40/day" }', Budget(Decimal("5.5"), Decimal(40))),
        ('{ day = "0.000001" }', Budget(day=Decimal("0.000001"))),
        ('{ turns = 50, on_breach = "stop" }', Budget(turns=50, on_breach=BreachAction.STOP)),
        ("{}", Budget()),
    ],
)
def test_numbers_are_read_as_they_are_written(value: str, budget: Budget) -> None:
    assert agent_of(f"budget = {value}").policy.budget == budget


def test_without_a_budget_there_is_none() -> None:
    assert agent_of("").policy.budget is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("{ usd = 5.0 }", r'budget\.usd: found 5\.0, expected US dollars as a text, such as "5" .*write it in quotes'),
        ("{ day = 40 }", r"budget\.day: found 40, expected .*write it in quotes, so that it is exact"),
        ('{ usd = "5/day" }', r'budget\.usd: found "5/day", expected US dollars .*"5\.50/run"'),
        ('{ usd = "-5" }', r'budget\.usd: found "-5", expected US dollars'),
        ('{ usd = "0" }', r'budget\.usd: found "0", which is nothing at all; leave it out for no limit'),
        ('{ usd = "1.0000001" }', r"budget\.usd: .*six decimals at most"),
        ("{ turns = 0 }", r"budget\.turns: found 0, expected at least 1"),
        ("{ turns = 1.5 }", r"budget\.turns: found 1\.5, expected a whole number"),
        ('{ on_breach = "pauze" }', r'budget\.on_breach: found "pauze", .*did you mean "pause"\?'),
        ('{ dollars = "5" }', r"budget\.dollars: unknown key, expected usd, day, turns, on_breach"),
        ('"5"', r'budget: found "5", expected a table such as \{ usd = "5/run", turns = 50 \}'),
        ('""', r'budget: found "", expected a table'),
    ],
)
def test_what_is_wrong_is_an_error_at_its_place(value: str, error: str) -> None:
    (found,) = errors_of(written(value))
    assert re.search(error, found)


@pytest.mark.parametrize("harness", ["codex"])
def test_money_that_nobody_tells_of_is_a_warning(harness: str) -> None:
    usd, day = warnings_of(written('{ usd = "5", day = "9", turns = 3 }', harness))
    assert f'budget.usd: is not held: "{harness}" does not say what its turns cost; turns is' in usd
    assert "budget.day: is not held" in day
    assert warnings_of(written("{ turns = 3 }", harness)) == []


def test_a_budget_of_an_agent_that_nobody_watches_is_a_warning() -> None:
    (found,) = warnings_of(written("{ turns = 3 }") + "turns = false\n")
    assert "budget: is not held: turns = false, so its turns are not watched" in found
    (found,) = warnings_of(written("{ turns = 3 }") + 'type = "sandboxed"\nsandbox = "gvisor"\n')
    assert "it is in gVisor's sandbox" in found


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"usd": "5/run", "day": "40", "turns": 50, "on_breach": "pause"}, True),
        ({}, True),
        ({"usd": 5.0}, False),
        ({"usd": "5/day"}, False),
        ({"turns": 0}, False),
        ({"dollars": "5"}, False),
        ("5", False),
    ],
)
def test_the_schema_takes_what_the_loader_takes(value: object, good: bool) -> None:
    schema = {**agent_schema()}
    assert jsonschema.Draft202012Validator(schema).is_valid({"harness": "codex", "budget": value}) is good


def test_agentctl_reads_it_from_the_api() -> None:
    budget = Budget(Decimal("0.1"), Decimal(40), 50, BreachAction.NOTIFY)
    for each in (budget, Budget(), None):
        policy = replace(Policy(), budget=each)
        assert _policy(json.loads(pydantic_core.to_json(policy))) == policy


def test_what_an_agent_does_not_say_is_as_whoever_it_inherits_from_says() -> None:
    outer = Budget(Decimal(5), Decimal(40), 50, BreachAction.STOP)
    assert Budget(usd=Decimal(9)).within(outer) == Budget(Decimal(9), Decimal(40), 50, BreachAction.STOP)
    assert Budget().within(outer).action is BreachAction.STOP
    assert Budget().action is BreachAction.PAUSE
