"""The reducer of activity: which witness is believed, what outlasts an idle prompt, and what is no event."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.states import Activity
from agentd.turns.activity import (
    LONGEST_TEXT,
    NOBODY_SPEAKS,
    SETTLED,
    Doing,
    Rank,
    Seen,
    Shown,
    due,
    line,
    news,
    show,
    weigh,
)
from agentd.turns.events import Ended, Failure, Outcome

IDLE, WORKING = Doing(Activity.IDLE, "file"), Doing(Activity.WORKING, "file")


def test_where_no_witness_speaks_nothing_is_known() -> None:
    assert weigh({}) == NOBODY_SPEAKS == weigh({"file": Seen(Activity.UNKNOWN, 9.0)})


@pytest.mark.parametrize(("record", "screen"), list(product([1.0, 5.0], [1.0, 5.0])))
def test_the_harness_own_record_is_believed_before_the_screen(record: float, screen: float) -> None:
    seen = {
        "screen": Seen(Activity.WAITING_INPUT, screen, rank=Rank.SCREEN),
        "file": Seen(Activity.WORKING, record),
    }
    assert weigh(seen) == WORKING
    seen["file"] = Seen(Activity.UNKNOWN, record)
    assert weigh(seen) == Doing(Activity.WAITING_INPUT, "screen")


def test_among_records_the_latest_word_is_believed() -> None:
    hooks, file = Seen(Activity.WORKING, 1.0), Seen(Activity.IDLE, 2.0)
    assert weigh({"hooks": hooks, "file": file}) == IDLE
    assert weigh({"hooks": Seen(Activity.WORKING, 3.0), "file": file}) == Doing(Activity.WORKING, "hooks")


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("activity", [each for each in Activity if each is not Activity.UNKNOWN])
def test_a_failure_outlasts_the_idle_prompt_and_nothing_else(failure: Failure, activity: Activity) -> None:
    last = Ended(Outcome.FAILED, failure=failure, error="resets 4am")
    doing = weigh({"file": Seen(activity, 1.0)}, last)
    if activity is not Activity.IDLE or failure is Failure.OTHER:
        assert doing == Doing(activity, "file")
    else:
        assert doing == Doing(failure.activity, "file", "resets 4am")


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.INTERRUPTED, Outcome.LOST])
def test_a_turn_that_did_not_fail_ends_what_a_failure_left(outcome: Outcome) -> None:
    assert weigh({"file": Seen(Activity.IDLE, 1.0)}, Ended(outcome)) == IDLE


def test_an_agent_whose_tools_still_run_is_not_idle() -> None:
    idle = {"file": Seen(Activity.IDLE, 1.0)}
    doing = weigh(idle, background=("npm run dev",))
    assert doing == Doing(Activity.WORKING, "process", "in the background: npm run dev", background=True)
    asks = {"file": Seen(Activity.WAITING_PERMISSION, 1.0, "rm x")}
    assert weigh(asks, background=("npm run dev",)) == Doing(Activity.WAITING_PERMISSION, "file", "rm x")


def test_a_text_is_one_printable_line_of_bounded_length() -> None:
    assert "\x1b" not in (line("a\n  b\t\x1b[31mc") or "")
    assert line("a\n  b") == "a b"
    assert line(" \n") is None
    assert len(line("x" * 10_000) or "") == LONGEST_TEXT


def test_an_activity_is_told_once_it_has_lasted_and_once_only() -> None:
    shown = show(None, IDLE, 10.0)
    assert news(shown, 10.0) == (shown, False)
    assert due(shown) == 10.0 + SETTLED
    shown, told = news(shown, 10.0 + SETTLED)
    assert told
    assert news(shown, 99.0) == (shown, False)
    assert due(shown) is None


def test_that_nothing_is_known_is_news_only_after_something_was() -> None:
    unknown = show(None, NOBODY_SPEAKS, 0.0)
    assert (news(unknown, 9.0)[1], due(unknown)) == (False, None)
    known, _ = news(show(unknown, IDLE, 10.0), 11.0)
    assert news(show(known, NOBODY_SPEAKS, 20.0), 21.0)[1]


def test_a_flicker_is_shown_and_not_told() -> None:
    shown, _ = news(show(None, IDLE, 0.0), 1.0)
    shown = show(shown, WORKING, 10.0)
    assert (shown.doing, shown.since) == (WORKING, 10.0)
    shown = show(shown, IDLE, 10.1)
    assert news(shown, 99.0)[1] is False


def test_another_witness_or_text_does_not_begin_an_activity_anew() -> None:
    shown = show(show(None, WORKING, 1.0), Doing(Activity.WORKING, "screen"), 5.0)
    assert (shown.since, shown.doing.source) == (1.0, "screen")


activities = st.builds(Doing, st.sampled_from(Activity), st.just("file"), st.none() | st.sampled_from(["a", "b"]))


@given(st.lists(st.tuples(activities, st.floats(0.0, 1.0)), max_size=20))
def test_what_is_told_has_lasted_is_never_told_twice_in_a_row_and_is_the_truth_in_the_end(
    changes: list[tuple[Doing, float]],
) -> None:
    now, told = 0.0, list[Doing]()
    shown: Shown | None = None

    def settle(until: float, shown: Shown) -> Shown:
        at = due(shown)
        if at is not None and at <= until:
            assert at - shown.since >= SETTLED - 1e-9
            shown, new = news(shown, at)
            if new:
                told.append(shown.doing)
        return shown

    for doing, pause in changes:
        shown = show(shown, doing, now)
        now += pause
        shown = settle(now, shown)
    if shown is not None:
        shown = settle(now + 1.0, shown)
        assert due(shown) is None
        assert (told[-1].activity if told else Activity.UNKNOWN) is changes[-1][0].activity
    assert all((one.activity, one.text) != (two.activity, two.text) for one, two in pairwise(told))


def test_the_screen_tells_of_requests_where_the_record_does_not() -> None:
    working = Seen(Activity.WORKING, 5.0, blind=True)
    asks = Seen(Activity.WAITING_PERMISSION, 6.0, "touch it?", Rank.SCREEN)
    assert weigh({"file": working, "screen": asks}) == Doing(Activity.WAITING_PERMISSION, "screen", "touch it?")
    answered = Seen(Activity.WORKING, 7.0, blind=True)
    assert weigh({"file": answered, "screen": asks}) == Doing(Activity.WORKING, "file", blind=True)
    idle = Seen(Activity.IDLE, 7.0, blind=True)
    later = Seen(Activity.WAITING_PERMISSION, 9.0, "touch it?", Rank.SCREEN)
    assert weigh({"file": idle, "screen": later}) == Doing(Activity.IDLE, "file", blind=True)
    offers = Seen(Activity.WAITING_INPUT, 9.0, "another model?", Rank.SCREEN)
    assert weigh({"file": idle, "screen": offers}) == Doing(
        Activity.WAITING_INPUT, "screen", "another model?", blind=True
    )
    at_limit = Ended(Outcome.FAILED, failure=Failure.USAGE_LIMIT)
    assert weigh({"file": idle, "screen": offers}, at_limit).activity is Activity.USAGE_LIMIT
    next_turn = Seen(Activity.IDLE, 10.0, blind=True)
    assert weigh({"file": next_turn, "screen": offers}) == Doing(Activity.IDLE, "file", blind=True)
    assert weigh({"file": Seen(Activity.WORKING, 5.0), "screen": asks}) == Doing(Activity.WORKING, "file")
