"""Cron expressions: the times that they name, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from agentd.text.cron import following, latest

BERLIN = ZoneInfo("Europe/Berlin")


def at(local: str) -> float:
    """A moment, with its offset."""
    return datetime.fromisoformat(local).timestamp()


def times(expression: str, start: str, count: int) -> list[str]:
    found, moment = [], at(start)
    for _ in range(count):
        after = following(expression, moment, BERLIN)
        assert after is not None
        moment = after
        found.append(datetime.fromtimestamp(moment, BERLIN).isoformat(timespec="minutes"))
    return found


def test_working_days_at_nine() -> None:
    # A Thursday.
    assert times("0 9 * * 1-5", "2026-01-29T12:00+01:00", 3) == [
        "2026-01-30T09:00+01:00",
        "2026-02-02T09:00+01:00",
        "2026-02-03T09:00+01:00",
    ]


def test_a_day_s_time_stays_when_clocks_change() -> None:
    assert times("0 9 * * *", "2026-03-28T00:00+01:00", 2) == ["2026-03-28T09:00+01:00", "2026-03-29T09:00+02:00"]
    assert times("0 9 * * *", "2026-10-24T00:00+02:00", 2) == ["2026-10-24T09:00+02:00", "2026-10-25T09:00+01:00"]


def test_a_time_that_does_not_exist_is_the_end_of_the_gap() -> None:
    # On 2026-03-29 it is 03:00 after 01:59.
    assert times("30 2 * * *", "2026-03-28T12:00+01:00", 2) == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]
    # Several of them are one.
    assert times("0,30 2,3 * * *", "2026-03-29T01:00+01:00", 3) == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T03:30+02:00",
        "2026-03-30T02:00+02:00",
    ]


def test_a_time_that_happens_twice_counts_once() -> None:
    # On 2026-10-25 it is 02:00 again after 02:59.
    both = ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    assert times("30 2 * * *", "2026-10-24T12:00+02:00", 2) == both
    # Asked between the two.
    assert times("30 2 * * *", "2026-10-25T02:10+01:00", 1) == both[1:]
    assert times("30 2 * * *", "2026-10-25T02:45+02:00", 1) == both[1:]


def test_what_goes_by_passing_time_is_not_touched_by_clocks() -> None:
    for start in ("2026-03-29T00:30+01:00", "2026-10-25T00:30+02:00"):
        found = [at(each) for each in times("*/20 * * * *", start, 15)]
        assert {after - before for before, after in pairwise(found)} == {1200.0}


def test_seconds_come_first_in_six_fields() -> None:
    moment = at("2026-01-01T00:00:01+00:00")
    assert following("*/5 * * * * *", moment, UTC) == moment + 4


def test_the_latest_may_be_the_moment_itself() -> None:
    assert [latest("* * * * * *", 0, until, UTC) for until in (1, 2, 3, 10, 86400)] == [1, 2, 3, 10, 86400]


def test_there_may_be_none_meanwhile() -> None:
    assert latest("0 9 * * *", at("2026-01-01T10:00+00:00"), at("2026-01-02T08:59+00:00"), UTC) is None


@given(
    st.sampled_from(
        ["* * * * *", "0 9 * * 1-5", "30 2 * * *", "*/7 */3 * * *", "0,1 2,3 * * *", "0 0 1,31 * *", "* * * * * *"]
    ),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 (UTC, added below)
    st.integers(0, 40 * 86400),
)
def test_the_latest_is_the_last_of_those_that_follow(expression: str, start: datetime, seconds: int) -> None:
    after = start.replace(tzinfo=UTC).timestamp()
    until = (
        start.replace(tzinfo=UTC) + timedelta(seconds=min(seconds, 60) if expression == "* * * * * *" else seconds)
    ).timestamp()
    expected, moment = None, following(expression, after, BERLIN)
    while moment is not None and moment <= until:
        expected, moment = moment, following(expression, moment, BERLIN)
        if expression.startswith("* *") and expected < until - 3600:
            moment = following(expression, until - 3600, BERLIN)
    assert latest(expression, after, until, BERLIN) == expected
