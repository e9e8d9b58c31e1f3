"""When a limit resets, by the words of harnesses: those that the real CLIs printed, and traps."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.files.named_zones import named_zone
from agentd.turns.reset_times import reset_time

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 29, 16, 12, 50, tzinfo=UTC)
CODEX = (
    "You\u2019ve hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro), visit "
    "https://chatgpt.com/settings/usage to purchase more credits or try again at {}."
)


def read(said: str, now: datetime = NOW, local: tzinfo = BERLIN) -> str | None:
    found = reset_time(said, now.timestamp(), local, named_zone)
    return None if found is None else datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("said", "resets"),
    [
        ("You've hit your session limit \u00b7 resets 4:13pm (UTC)", "2026-11-29 16:14:00"),
        ("You've hit your weekly limit \u00b7 resets 3pm (Europe/Berlin)", "2026-11-30 14:01:00"),
        ("You've hit your weekly limit \u00b7 resets Dec 3, 4pm (UTC)", "2026-12-03 16:01:00"),
        ("You've hit your limit \u00b7 resets Jan 5, 2027, 3:05pm (UTC)", "2027-01-05 15:06:00"),
        ("You've hit your limit \u00b7 resets Jan 5, 3:05pm (UTC)", "2027-01-05 15:06:00"),
        ("You've hit your limit \u00b7 resets 12am (UTC)", "2026-11-30 00:01:00"),
        ("You've hit your limit \u00b7 resets 12:30pm (UTC)", "2026-11-30 12:31:00"),
        ("Claude AI usage limit reached|1795968000", "2026-11-29 16:00:00"),
        (CODEX.format("5:20 PM"), "2026-11-29 16:21:00"),
        (CODEX.format("Dec 3rd, 2026 5:20 PM"), "2026-12-03 16:21:00"),
        ("Usage limit reached for all Pro models. Access resets at 5:20 PM UTC. /stats", "2026-11-29 17:21:00"),
        ("Usage limit reached for all Pro models. Access resets at 6:20 PM GMT+1. /stats", "2026-11-29 17:21:00"),
        # A moment ago is now, and not tomorrow.
        ("resets 4:11pm (UTC)", "2026-11-29 16:12:00"),
        ("resets 4:02pm (UTC)", "2026-11-30 16:03:00"),
    ],
)
def test_what_the_clis_print_is_read(said: str, resets: str) -> None:
    assert read(said) == resets


@pytest.mark.parametrize(
    "said",
    [
        "",
        "API Error: Request rejected (429) \u00b7 This request would exceed your account's rate limit.",
        "You exceeded your current quota, please check your plan and billing details.",
        "resets 13:99pm (UTC)",
        "resets Feb 30, 4pm (UTC)",
        "resets 4pm (Mars/Olympus)",
        "resets in 3 hours",
        "try again at your own risk",
    ],
)
def test_what_says_no_time_gives_none(said: str) -> None:
    assert read(said) is None


def test_a_time_in_the_night_when_the_clocks_go_back_is_one_of_both() -> None:
    now = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    assert read("resets 2:30am (Europe/Berlin)", now) == "2026-10-25 00:31:00"


@given(st.text(max_size=80), st.sampled_from(["resets ", "try again at ", "limit reached|", ""]))
def test_no_text_makes_it_fail(said: str, before: str) -> None:
    read(before + said)
