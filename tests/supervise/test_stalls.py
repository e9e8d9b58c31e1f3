"""When an agent does not go on, and what is tried then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.stall import Stall, StallAction, StallPhase
from agentd.supervise.stalls import SHARE, Seen, Silence, describe, due, follow

MODEL, TOOL = StallPhase.MODEL, StallPhase.TOOL
STALL = Stall(10.0, 30.0, (StallAction.INTERRUPT, StallAction.RESUME, StallAction.NOTIFY))
WAITS = Seen("r", 100.0, MODEL, recorded=99.0)
BUILDS = Seen("r", 100.0, TOOL, recorded=99.0, cpu=5.0, tools=("Bash",))
PRINTS = Seen("r", 100.0, TOOL, printed=7.0, cpu=5.0)


def later(seen: Seen, seconds: float, **changes: object) -> Seen:
    return replace(seen, at=seen.at + seconds, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "changes", "on"),
    [
        (WAITS, {}, False),
        (WAITS, {"recorded": 104.0}, True),
        (WAITS, {"phase": TOOL}, True),
        (BUILDS, {}, False),
        (BUILDS, {"recorded": 104.0}, True),
        (BUILDS, {"cpu": 5.0 + 6 * SHARE}, True),
        (BUILDS, {"cpu": 5.0 + 4 * SHARE}, False),
        (BUILDS, {"cpu": 1.0}, False),
        (BUILDS, {"cpu": None}, False),
        (PRINTS, {"printed": 8.0}, True),
        (PRINTS, {}, False),
    ],
)
def test_it_goes_on_if_its_record_or_what_counts_says_so(first: Seen, changes: dict[str, object], on: bool) -> None:
    silence, _ = follow(None, first)
    silence, went_on = follow(silence, later(first, 5.0, **changes))
    assert went_on is on
    assert (silence.lasts > 0) is (not on or changes.get("recorded") is not None)


def test_who_is_not_at_work_has_gone_on_and_of_whom_it_is_not_known_has_not() -> None:
    silence, _ = follow(None, WAITS)
    assert follow(silence, later(WAITS, 50.0, phase=None, rests=True))[1]
    silence, went_on = follow(silence, later(WAITS, 50.0, phase=None))
    assert not went_on
    # Nor does that time count.
    silence, went_on = follow(silence, later(WAITS, 51.0))
    assert (went_on, silence.lasts) == (False, 0.0)


def test_another_run_begins_anew_and_takes_back_nothing() -> None:
    silence, _ = follow(None, WAITS)
    silence, went_on = follow(silence, later(WAITS, 50.0, run_id="s"))
    assert (went_on, silence.lasts) == (False, 0.0)


def test_actions_are_tried_in_order_each_after_another_budget() -> None:
    silence, taken, tried = follow(None, WAITS)[0], 0, []
    for second in range(1, 60):
        silence, went_on = follow(silence, later(WAITS, second))
        assert not went_on
        action = due(STALL, silence, taken)
        if action is not None:
            tried.append((second, action))
            silence, taken = replace(silence, acted=silence.seen.at), taken + 1
    assert tried == [(10, "interrupt"), (20, "resume"), (30, "notify")]


@pytest.mark.parametrize(
    ("stall", "first", "after"),
    [
        (STALL, WAITS, 10.0),
        (STALL, BUILDS, 30.0),
        (replace(STALL, tool=None), BUILDS, None),
        (replace(STALL, model=None), WAITS, None),
        (None, WAITS, None),
    ],
)
def test_a_model_and_a_tool_have_budgets_of_their_own(stall: Stall | None, first: Seen, after: float | None) -> None:
    silence, _ = follow(None, first)
    for seconds in (9.9, 10.0, 29.9, 30.0, 99.0):
        action = due(stall, follow(silence, later(first, seconds))[0], 0)
        assert (action is not None) is (after is not None and seconds >= after)


def test_what_was_seen_is_told_in_words() -> None:
    said = [describe(follow(follow(None, each)[0], later(each, 61.2))[0]) for each in (WAITS, BUILDS, PRINTS)]
    assert said == [
        "no word of its model for 1m1s: nothing in its program's record",
        "its tool Bash has done nothing for 1m1s: nothing in its program's record, no CPU",
        "what it runs has done nothing for 1m1s: no output, no CPU",
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from([None, MODEL, TOOL]), st.booleans(), st.floats(0.1, 40.0), st.booleans()),
        max_size=30,
    )
)
def test_nobody_is_troubled_before_its_budget_is_over(
    steps: list[tuple[StallPhase | None, bool, float, bool]],
) -> None:
    silence: Silence | None = None
    at, recorded, taken, quiet = 0.0, 0.0, 0, 0.0
    for phase, rests, pause, speaks in steps:
        at += pause
        recorded = at if speaks else recorded
        silence, went_on = follow(silence, Seen("r", at, phase, rests and phase is None, recorded))
        taken = 0 if went_on else taken
        quiet = 0.0 if speaks or phase is None else quiet + pause
        action = due(STALL, silence, taken)
        if action is not None:
            assert phase is not None
            assert quiet >= 10.0 - 1e-6
            silence, taken, quiet = replace(silence, acted=at), taken + 1, 0.0
