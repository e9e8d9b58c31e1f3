"""The tables [limits] and [[pools]] of a jcard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentd.jcard.capacity_tables import not_counted
from agentd.jcard.load import load_jcard
from agentd.model.capacity import Capacity, SlotPool
from agentd.model.spec import AgentSpec, Policy
from tests.jcard.loading import CONTEXT, load

GOOD = """
[limits]
running = 8
memory = "24GiB"

[[pools]]
name = "shop"
slots = 2
repository = "src/shop"

[[pools]]
name = "accounts"
slots = 3
account = "*"
agents = ["review*"]
"""


def test_the_tables_are_read() -> None:
    result = load(GOOD)
    assert result.problems == ()
    shop = SlotPool("shop", 2, repository=str(CONTEXT.folder / "src/shop"))
    accounts = SlotPool("accounts", 3, account="*", agents=("review*",))
    assert result.capacity == Capacity(8, 24 * 1024**3, pools=(shop, accounts))


def test_without_them_there_is_no_limit() -> None:
    assert load("").capacity is None
    assert load("[limits]").capacity == Capacity()
    assert load('[[pools]]\nname = "a"\nslots = 1\nrepository = "*"').capacity == Capacity(
        pools=(SlotPool("a", 1, "*"),)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits]\nrunning = 0", "expected at least 1"),
        ('[limits]\nmemory = "much"', "expected a size"),
        ("[[limits]]\nrunning = 1", "expected a table: write [limits]"),
        ("[pools]\nslots = 1", "expected tables: write [[pools]]"),
        ('[[pools]]\nname = "a"', "pools[0].slots: missing"),
        ('[[pools]]\nname = "a"\nslots = 1\nrepositry = "x"', 'unknown key; did you mean "repository"?'),
        ('[[pools]]\nname = "a"\nslots = 1\n[[pools]]\nname = "a"\nslots = 2', 'found "a" twice'),
        ('[[pools]]\nname = "a"\nslots = 1\nagents = []', "agents"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    result = load(text)
    assert [message in str(error) for error in result.errors] == [True], [str(each) for each in result.errors]


def test_an_unknown_key_of_limits_is_a_warning() -> None:
    (warning,) = load("[limits]\nruning = 8").warnings
    assert 'did you mean "running"?' in warning.message


def test_a_drop_in_has_none() -> None:
    result = load_jcard(GOOD.encode(), "a.toml", replace(CONTEXT, drop_in=True))
    assert result.capacity is None
    assert ["ignored: how many agents run at once" in each.message for each in result.warnings] == [True, True]


def test_agents_that_memory_does_not_count_or_fit_are_warned_of() -> None:
    def spec(name: str, memory: int | None) -> AgentSpec:
        return AgentSpec(name, "codex", name, Path("/w"), policy=Policy(memory=memory))

    found = not_counted(Capacity(memory=5), [spec("a", None), spec("b", 5), spec("c", 6)])
    assert found == (
        '[limits] memory does not count "a": set memory',
        '[limits] memory is less than the memory of "c": never launched',
    )
    assert not_counted(Capacity(running=1), [spec("a", None)]) == ()
    assert not_counted(None, [spec("a", None)]) == ()
