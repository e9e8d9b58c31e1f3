"""Moments of real agents that no rule was written from, and what the rules and agentd say of them.

They were captured by ``python -m tests.harness.capture``, labelled by what the stub model was doing. A rule that is
mended by one of them is tried on new ones: these go to ``screens`` then.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agentd.model.states import Activity
from agentd.turns.screen.table import Outcome, judge_labelled, precision_table
from tests.docs.newcomer import ROOT
from tests.turns.moments import Moment, by_witness, read_moments, witness_table

UNSEEN = Path(__file__).parent / "unseen"
MOMENTS = read_moments(UNSEEN)
HARNESSES = ("claude-code", "codex", "gemini-cli", "opencode")
WANTED = 0.98
"""Precision and recall of each harness: of the rules, and of all witnesses as agentd was when they were captured."""


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return judge_labelled(UNSEEN)


def shares(outcomes: list[Outcome]) -> tuple[float, float]:
    """Precision and recall of all answers."""
    right = sum(each.activity is each.label.expect is not Activity.UNKNOWN for each in outcomes)
    said = sum(each.activity is not Activity.UNKNOWN for each in outcomes)
    true = sum(each.label.expect is not Activity.UNKNOWN for each in outcomes)
    return right / said, right / true


def explained(outcomes: list[Outcome]) -> str:
    wrong = [each for each in outcomes if each.activity is not each.label.expect]
    return "\n".join(f"{each.label.file}: {each.label.expect}, said {each.activity}" for each in wrong)


@pytest.mark.parametrize("harness", HARNESSES)
def test_the_rules_tell_what_they_were_not_written_from(harness: str, outcomes: list[Outcome]) -> None:
    mine = [each for each in outcomes if each.label.harness == harness]
    assert min(shares(mine)) >= WANTED, explained(mine)


@pytest.mark.parametrize("harness", HARNESSES)
def test_agentd_told_what_each_was_doing(harness: str) -> None:
    mine = [each for each in by_witness(MOMENTS) if each.label.harness.startswith(f"{harness},")]
    assert min(shares(mine)) >= WANTED, explained(mine)


@pytest.mark.parametrize("harness", HARNESSES)
def test_every_activity_is_among_them_and_traps(harness: str) -> None:
    mine: list[Moment] = [moment for moment in MOMENTS if moment.harness == harness]
    assert {moment.expect for moment in mine} == set(Activity)
    assert sum("TRAP" in moment.note for moment in mine) >= 3
    assert min(Counter(moment.expect for moment in mine).values()) >= 2


def test_the_tables_in_the_docs_are_what_the_command_prints(outcomes: list[Outcome]) -> None:
    rules = (ROOT / "docs" / "reference" / "screen-rules.md").read_text(encoding="utf-8")
    turns = (ROOT / "docs" / "explanation" / "turns.md").read_text(encoding="utf-8")
    assert precision_table(outcomes) in rules, (
        f"expected in docs/reference/screen-rules.md:\n{precision_table(outcomes)}"
    )
    assert witness_table(MOMENTS) in turns, f"expected in docs/explanation/turns.md:\n{witness_table(MOMENTS)}"
