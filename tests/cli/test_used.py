"""What agents have used, summed up from events: each number with its source and its time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.kept_events import data_of
from agentd.cli.agentctl.used import Used, document, quota_text

NOW = datetime(2026, 1, 31, 9, 10, tzinfo=UTC)


def used(time: str, run: str | None = None, cost: float | None = None) -> Mapping[str, Json]:
    data: dict[str, Json] = {"input_tokens": 10, "output_tokens": 5} | ({} if cost is None else {"cost_usd": cost})
    return {"kind": "turn_usage", "time": time, "data": data | ({} if run is None else {"run": run})}


def quota(time: str, percent: float, resets_at: str | None, window: str = "primary") -> Mapping[str, Json]:
    data: dict[str, Json] = {"window": window, "used_percent": percent, "quota_source": "rollout", "run": "r2"}
    return {"kind": "turn_quota", "time": time, "data": data | ({} if resets_at is None else {"resets_at": resets_at})}


def summed(*events: Mapping[str, Json]) -> Used:
    sums = Used()
    for event in events:
        sums.add(event)
    return sums


def test_each_number_has_its_source_and_its_own_age() -> None:
    sums = summed(used("2026-01-31T09:00:00Z", "r1", 0.5), used("2026-01-31T09:05:00Z", "r2"))
    shown = document(sums, "opencode", NOW)
    assert (shown["turns"], shown["input_tokens"], shown["output_tokens"], shown["cache_read_tokens"]) == (2, 20, 10, 0)
    assert (shown["source"], shown["age_seconds"]) == ("opencode's own record", 300)
    assert (shown["cost_usd"], shown["cost_source"], shown["cost_age_seconds"]) == (0.5, "opencode's own record", 600)
    assert [(run, document(each, "opencode", NOW)["cost_usd"]) for run, each in sums.runs.items()] == [
        ("r1", 0.5),
        ("r2", None),
    ]


def test_what_an_older_agentd_told_of_no_run_counts_for_the_agent_alone() -> None:
    sums = summed(used("2026-01-31T09:00:00Z"))
    assert (sums.turns, sums.runs) == (1, {})


def test_the_latest_word_on_each_window_counts_whatever_run_said_it() -> None:
    sums = summed(
        quota("2026-01-31T09:00:00Z", 20.0, None),
        quota("2026-01-31T09:08:00Z", 42.5, "2026-01-31T11:10:00Z"),
        quota("2026-01-31T09:08:00Z", 7.0, "2026-01-31T09:09:00Z", "secondary"),
    )
    shown = document(sums, "codex", NOW)
    assert shown["input_tokens"] is None
    assert shown["source"] is None
    assert shown["quota"] == [
        {
            "window": "primary",
            "used_percent": 42.5,
            "window_seconds": None,
            "resets_at": "2026-01-31T11:10:00Z",
            "source": "rollout",
            "at": "2026-01-31T09:08:00Z",
            "age_seconds": 120,
        },
        {
            "window": "secondary",
            "used_percent": 7.0,
            "window_seconds": None,
            "resets_at": "2026-01-31T09:09:00Z",
            "source": "rollout",
            "at": "2026-01-31T09:08:00Z",
            "age_seconds": 120,
        },
    ]
    assert quota_text(shown["quota"], NOW) == (
        "primary 42.5 %, resets in 2h00m (rollout, 2m00s ago); "
        "secondary 7 %, was to reset 1m00s ago (rollout, 2m00s ago)"
    )


def test_what_comes_late_of_a_turn_is_no_other_turn_and_claude_codes_status_line_tells_the_cost() -> None:
    first, late = used("2026-01-31T09:00:00Z"), used("2026-01-31T09:00:02Z", cost=0.5)
    sums = summed(*({**each, "data": {**data_of(each), "turn": "t1"}} for each in (first, late)))
    assert sums.turns == 1
    shown = document(sums, "claude-code", NOW)
    assert (shown["source"], shown["cost_source"]) == ("claude-code's own record", "claude-code's status line")
