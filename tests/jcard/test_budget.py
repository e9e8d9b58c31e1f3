"""The field ``budget``: what an agent may use up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import jsonschema
import pydantic_core
import pytest

from agentd.cli.agentctl.preview import _policy
from agentd.jcard.drop_ins import SourceFile, TakenFile, drop_in_context, merge
from agentd.jcard.load import load_jcard
from agentd.jcard.schema import agent_schema
from agentd.model.budgets import BreachAction, Budget
from agentd.model.spec import Policy
from tests.jcard.loading import CONTEXT, agent_of, errors_of, warnings_of


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


WORKER = """[worker]
provider = "codex"
spawned_by = "{by}"
[agent]
name = "{name}"
harness = "claude-code"
{fields}
"""
FOLDER = Path("/etc/stereos")
JCARD, FIRST, SECOND = FOLDER / "jcard.toml", FOLDER / "jcard.d/workers/a.toml", FOLDER / "jcard.d/workers/b.toml"


def merged(**texts: str) -> tuple[TakenFile, ...]:
    paths = {"jcard": JCARD, "first": FIRST, "second": SECOND}
    sources = []
    for name, text in texts.items():
        path = paths[name]
        context = CONTEXT if name == "jcard" else drop_in_context(CONTEXT, path, "workers")
        sources.append(SourceFile(path, context.owner, load_jcard(text.encode(), str(path), context)))
    return merge(sources)


def budgets(files: tuple[TakenFile, ...]) -> dict[str, Budget | None]:
    assert [str(problem) for file in files for problem in file.problems] == []
    return {spec.name: spec.policy.budget for file in files for spec in file.agents}


def test_agents_inherit_of_the_table_what_they_do_not_say() -> None:
    jcard = """
[budget]
usd = "5/run"
day = "40"
on_breach = "stop"
[[agents]]
name = "own"
harness = "claude-code"
budget = { usd = "9", turns = 3, on_breach = "notify" }
[[agents]]
name = "none"
harness = "claude-code"
"""
    assert budgets(merged(jcard=jcard)) == {
        "own": Budget(Decimal(9), Decimal(40), 3, BreachAction.NOTIFY),
        "none": Budget(Decimal(5), Decimal(40), None, BreachAction.STOP),
    }


def test_workers_inherit_of_whoever_spawned_them_and_that_of_the_table() -> None:
    jcard = '[budget]\nturns = 9\n[agent]\nname = "boss"\nharness = "claude-code"\nbudget = { usd = "5" }\n'
    first = WORKER.format(by="boss", name="w1", fields='budget = { day = "7" }')
    second = WORKER.format(by="w1", name="w2", fields="")
    assert budgets(merged(jcard=jcard, first=first, second=second)) == {
        "boss": Budget(Decimal(5), None, 9),
        "w1": Budget(Decimal(5), Decimal(7), 9),
        "w2": Budget(Decimal(5), Decimal(7), 9),
    }
    # Who claims to be spawned by each other inherits no less.
    circle = WORKER.format(by="w2", name="w1", fields="")
    assert budgets(merged(jcard=jcard, first=circle, second=second))["w2"] == Budget(turns=9)


def test_without_any_budget_nothing_is_changed() -> None:
    file = merged(jcard='[agent]\nname = "a"\nharness = "claude-code"\n')[0]
    assert file.in_force is not None
    assert file.agents == file.in_force.agents
    assert file.agents[0].policy.budget is None


def test_whose_money_is_not_held_is_said_at_the_table() -> None:
    agents = "".join(
        f'[[agents]]\nname = "{name}"\nharness = "{harness}"\n'
        for name, harness in [("a", "codex"), ("b", "claude-code")]
    )
    (file,) = merged(jcard='[budget]\nday = "5"\n' + agents)
    (found,) = file.warnings
    assert str(found) == (
        '/etc/stereos/jcard.toml:1:1: budget: usd and day are not held for "a": what turns of codex cost is not said; '
        "turns is held"
    )
    (file,) = merged(jcard="[budget]\nturns = 5\n" + agents)
    assert file.warnings == []


def test_the_table_counts_in_the_jcard_alone_and_its_errors_are_the_jcards() -> None:
    text = WORKER.format(by="boss", name="w1", fields="") + "[budget]\nturns = 1\n"
    (_, file) = merged(jcard="", first=text)
    assert [problem.message for problem in file.problems] == [
        "ignored: the budget of all agents stands in the jcard itself"
    ]
    (found,) = errors_of("[budget]\nday = 5\n")
    assert "jcard.toml:2:1: budget.day: found 5, expected US dollars as a text" in found
