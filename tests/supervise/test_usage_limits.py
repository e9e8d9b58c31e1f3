"""What follows a usage limit, as a function of the policy, the limit, the time and the zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.usage_limits import Hours, LimitAction, UsageLimitPolicy
from agentd.supervise.usage_limits import UNTOLD, Limited, LimitHit, decide, spread

BERLIN = ZoneInfo("Europe/Berlin")
WAIT = UsageLimitPolicy(LimitAction.WAIT, jitter=0.0)
DAY_HOURS = Hours(8 * 60, 22 * 60)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def due(policy: UsageLimitPolicy, resets_at: str, share: float = 0.0, zone: ZoneInfo = BERLIN) -> str:
    """When it goes on, by the clock of the zone."""
    hit = LimitHit(moment(resets_at) - 600, moment(resets_at), "hooks")
    found = decide(policy, Limited(hit), share, zone).due
    assert found is not None
    return datetime.fromtimestamp(found, zone).isoformat()


def test_it_goes_on_when_the_limit_resets_spread_by_its_share_of_the_jitter() -> None:
    policy = replace(WAIT, jitter=120.0)
    assert due(policy, "2026-11-29T16:00+01:00") == "2026-11-29T16:00:00+01:00"
    assert due(policy, "2026-11-29T16:00+01:00", share=0.5) == "2026-11-29T16:01:00+01:00"


def test_a_reset_that_has_passed_when_it_is_told_is_at_once() -> None:
    hit = LimitHit(1000.0, 400.0, "hooks")
    assert decide(WAIT, Limited(hit), 0.0, UTC).due == 1000.0


def test_without_a_reset_it_says_so_and_tries_again_after_half_an_hour() -> None:
    found = decide(WAIT, Limited(LimitHit(1000.0, None, "hooks")), 0.0, UTC)
    assert found.due == 1000.0 + UNTOLD
    assert found.why == "its program does not say when the limit resets: it tries again after 30m"


@pytest.mark.parametrize(
    ("resets_at", "goes_on"),
    [
        ("2026-11-29T07:59:59+01:00", "2026-11-29T08:00:00+01:00"),
        ("2026-11-29T08:00:00+01:00", "2026-11-29T08:00:00+01:00"),
        ("2026-11-29T21:59:59+01:00", "2026-11-29T21:59:59+01:00"),
        ("2026-11-29T22:00:00+01:00", "2026-11-30T08:00:00+01:00"),
        # The clocks go back in the night, and forward.
        ("2026-10-24T23:00:00+02:00", "2026-10-25T08:00:00+01:00"),
        ("2027-03-27T23:00:00+01:00", "2027-03-28T08:00:00+02:00"),
    ],
)
def test_it_goes_on_within_its_hours_of_local_time(resets_at: str, goes_on: str) -> None:
    assert due(replace(WAIT, hours=DAY_HOURS), resets_at) == goes_on


@pytest.mark.parametrize(
    ("resets_at", "goes_on"),
    [
        ("2026-11-29T21:59:00+01:00", "2026-11-29T22:00:00+01:00"),
        ("2026-11-29T23:30:00+01:00", "2026-11-29T23:30:00+01:00"),
        ("2026-11-30T05:59:00+01:00", "2026-11-30T05:59:00+01:00"),
        ("2026-11-30T06:00:00+01:00", "2026-11-30T22:00:00+01:00"),
    ],
)
def test_hours_may_go_past_midnight(resets_at: str, goes_on: str) -> None:
    assert due(replace(WAIT, hours=Hours(22 * 60, 6 * 60)), resets_at) == goes_on


def test_those_who_wait_for_the_morning_are_spread_there_too() -> None:
    policy = replace(WAIT, jitter=600.0, hours=DAY_HOURS)
    assert due(policy, "2026-11-29T23:00+01:00", share=0.5) == "2026-11-30T08:05:00+01:00"
    # What the jitter puts past the end goes on in the next morning.
    assert due(policy, "2026-11-29T21:58+01:00", share=0.5) == "2026-11-30T08:05:00+01:00"


@given(
    st.builds(Hours, st.integers(0, 1439), st.integers(0, 1440)).filter(lambda hours: hours.begin != hours.end % 1440),
    st.integers(moment("2026-01-01T00:00+00:00"), moment("2027-12-31T00:00+00:00")),  # type: ignore[arg-type]
    st.floats(0, 1, exclude_max=True),
)
def test_it_never_goes_on_before_the_reset_or_over_a_day_and_its_jitter_later(
    hours: Hours, resets_at: int, share: float
) -> None:
    policy = replace(WAIT, jitter=120.0, hours=hours)
    found = decide(policy, Limited(LimitHit(resets_at - 60.0, float(resets_at), "hooks")), share, BERLIN).due
    assert found is not None
    assert resets_at <= found <= resets_at + 2 * 86400 + 3600 + 240


def test_max_resumes_ends_it_and_0_does_not() -> None:
    limited = Limited(LimitHit(1000.0, 2000.0, "hooks"), resumes=3)
    spent = decide(WAIT, limited, 0.0, UTC)
    assert (spent.due, spent.why) == (None, "it has gone on 3 times since a turn ended well, max_resumes")
    assert decide(replace(WAIT, max_resumes=0), limited, 0.0, UTC).due == 2000.0


@pytest.mark.parametrize("policy", [None, UsageLimitPolicy(LimitAction.NOTIFY), UsageLimitPolicy(LimitAction.STOP)])
def test_only_who_waits_goes_on(policy: UsageLimitPolicy | None) -> None:
    found = decide(policy, Limited(LimitHit(1000.0, 2000.0, "hooks"), due=5.0), 0.0, UTC)
    assert found.due is None
    assert (found.why is None) is (policy is None)


def test_the_spread_is_the_same_for_a_run_and_even_over_a_fleet() -> None:
    shares = [spread(f"agent-{number}", "run") for number in range(300)]
    assert shares == [spread(f"agent-{number}", "run") for number in range(300)]
    assert spread("agent-0", "run") != spread("agent-0", "another run")
    assert all(0 <= share < 1 for share in shares)
    assert all(sum(low <= share < low + 0.1 for share in shares) > 20 for low in (0.0, 0.3, 0.9))
