"""What harnesses say of their quota and of the limit that they are at."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import cast

import pytest

from agentd.files.named_zones import named_zone
from agentd.model.events import Detail
from agentd.model.states import Activity
from agentd.supervise.usage_limits import LimitHit
from agentd.turns.activity import Doing, Shown
from agentd.turns.adapter import Ground, Hook, Voice
from agentd.turns.codex.dialogs import Dialogs
from agentd.turns.codex.quota import windows
from agentd.turns.codex.rollout import Rollout
from agentd.turns.conversation import Turn
from agentd.turns.custom.events import quota_of
from agentd.turns.events import Ended, Failure, Outcome
from agentd.turns.limit_watch import LimitWatch
from agentd.turns.opencode.events import Reader
from agentd.turns.quota import QuotaWindow, Zones, failed_at, limit_hit, spent_until
from tests.turns.claude_run import Terminal

ZONES = Zones(UTC, named_zone)
LIMITED = Shown(Doing(Activity.USAGE_LIMIT, "hooks", "You've hit your session limit \u00b7 resets 4:13pm (UTC)"), 5.0)
FULL = QuotaWindow("primary", 100.0, 18000.0, 1795972829.0)


def test_codex_rollout_tells_the_windows_and_an_api_key_has_none() -> None:
    # As 0.169.0 wrote it.
    none = '{"limit_id":"codex","limit_name":null,"primary":null,"secondary":null,"plan_type":null}'
    both = (
        '{"limit_id":"codex","limit_name":null,"primary":{"used_percent":100.0,"window_minutes":300,'
        '"resets_at":1795972829},"secondary":{"used_percent":12.5,"window_minutes":10080,"resets_at":null}}'
    )
    line = (
        '{"timestamp":"2026-11-29T16:13:48.531Z","type":"event_msg","payload":{"type":"token_count","rate_limits":%s}}'
    )
    told = Rollout().read((line % both).encode())
    assert told is not None
    assert told.quota == (FULL, QuotaWindow("secondary", 12.5, 604800.0, None))
    assert Rollout().read((line % none).encode()) is None


def test_codex_server_tells_the_same_in_its_own_spelling() -> None:
    limits = json.loads('{"primary": {"usedPercent": 100, "windowDurationMins": 300, "resetsAt": 1795972829}}')
    assert windows(limits) == (FULL,)
    assert windows({**limits, "limitName": "gpt-6"})[0].name == "gpt-6 primary"


@pytest.mark.parametrize(
    "limits", [{}, {"primary": 5}, {"primary": {"used_percent": "x"}}, {"primary": {"used_percent": -1}}]
)
def test_what_is_no_quota_tells_nothing(limits: dict[str, object]) -> None:
    assert windows(limits) == ()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            {"window": "week", "used_percent": 42, "window_seconds": 604800, "resets_at": 9},
            ("week", 42.0, 604800.0, 9.0),
        ),
        ({"used_percent": 1.5}, ("quota", 1.5, None, None)),
    ],
)
def test_a_program_of_ones_own_may_post_a_quota(body: dict[str, object], found: tuple[object, ...]) -> None:
    (window,) = quota_of(Hook("quota", body))
    assert (window.name, window.used_percent, window.seconds, window.resets_at) == found
    assert quota_of(Hook("quota", {"window": "week"})) == ()


def test_all_windows_that_are_used_up_must_have_reset() -> None:
    weekly = QuotaWindow("secondary", 100.0, None, 1796000000.0)
    assert spent_until((FULL, weekly)) == 1796000000.0
    assert spent_until((FULL, QuotaWindow("secondary", 99.0, None, 1796000000.0))) == FULL.resets_at
    assert spent_until((FULL, QuotaWindow("secondary", 100.0))) is None
    assert spent_until(()) is None


def test_the_exact_time_of_a_limit_wins_over_its_words() -> None:
    at = 1795968770.0
    last = Turn("t", None, 1.0, ended=at, end=Ended(Outcome.FAILED, None, Failure.USAGE_LIMIT, LIMITED.doing.text))
    assert limit_hit(LIMITED, last, None, (), ZONES).resets_at == 1795968840.0
    assert limit_hit(LIMITED, last, None, (FULL,), ZONES).resets_at == FULL.resets_at
    exact = Shown(Doing(Activity.USAGE_LIMIT, "server", "quota", resets_at=7.0), 5.0)
    assert limit_hit(exact, None, None, (FULL,), ZONES) == LimitHit(5.0, 7.0, "server", "quota")


def test_a_limit_is_told_as_a_window_that_is_used_up_where_nothing_else_is_said_of_it() -> None:
    told: list[dict[str, Detail]] = []
    watch = LimitWatch(None, "UTC", told.append)
    at = 1795968770.0
    last = Turn("t", None, 1.0, ended=at, end=Ended(Outcome.FAILED, None, Failure.USAGE_LIMIT, LIMITED.doing.text))
    assert watch.judge(LIMITED, last)
    assert not watch.judge(LIMITED, last)
    assert told == [
        {"window": "session limit", "used_percent": 100.0, "quota_source": "hooks", "resets_at": "2026-11-29T16:14:00Z"}
    ]


def test_a_window_is_told_again_only_with_news() -> None:
    told: list[dict[str, Detail]] = []
    watch = LimitWatch(None, "UTC", told.append)
    for resets in (1795972829.0, 1795972830.0, 1795980000.0):
        watch.take("rollout", [QuotaWindow("primary", 50.0, None, resets)])
    assert [data["resets_at"] for data in told] == ["2026-11-29T17:20:29Z", "2026-11-29T19:20:00Z"]


def test_a_limit_that_a_former_daemon_knew_is_the_same_until_it_does_something_else() -> None:
    known = LimitHit(77.0, 99.0, "screen", "limit")
    watch = LimitWatch(known, "UTC", lambda _data: None)
    watch.judge(Shown(Doing(Activity.UNKNOWN, "process"), 100.0), None)
    assert (watch.hit, watch.known) == (None, known)
    shown = Shown(Doing(Activity.USAGE_LIMIT, "screen", "limit", resets_at=99.0), 101.0)
    watch.judge(shown, failed_at(known))
    assert watch.hit == known
    watch.judge(Shown(Doing(Activity.IDLE, "screen"), 102.0), None)
    assert watch.known is None


def test_opencode_tells_when_it_tries_again_also_to_who_connects_later() -> None:
    status = {"type": "retry", "attempt": 1, "message": "You exceeded your current quota", "next": 1795918247293}
    reader = Reader(session="ses_1")
    list(reader.read({"type": "session.status", "properties": {"sessionID": "ses_1", "status": status}}))
    assert reader.doing is not None
    assert (reader.doing.activity, reader.doing.resets_at) == (Activity.USAGE_LIMIT, 1795918247.293)
    later = Reader(session="ses_1")
    later.resume({"ses_1": status})
    assert later.doing == reader.doing


async def test_codex_offer_of_another_model_at_a_limit_is_closed_and_nothing_else_is() -> None:
    # As 0.169.0 showed it.
    shown = (Path(__file__).parent / "samples" / "codex-offer-of-another-model.ansi").read_text()
    for screen, pressed in (
        (shown, ["Escape"]),
        ("\u2022 It says:\n  Approaching rate limits\n\n\u203a Ask Codex to do anything", []),
        ("", []),
    ):
        terminal = Terminal(shown=screen)
        await Dialogs(cast("Voice", None), terminal, cast("Ground", None)).close_offer()
        assert terminal.pressed == pressed
