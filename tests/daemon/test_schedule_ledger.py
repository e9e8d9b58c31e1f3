"""The file of schedules: read as it was written, and never trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentd.daemon.schedule_ledger import ScheduleLedger
from agentd.supervise.scheduling import Standing

KNOWN = {
    "a": Standing("0 9 * * *", "Europe/Berlin", 1.5, None, 3.0, True, "2026-01-31T09:00:00Z"),
    "b": Standing("* * * * *", None, 0.0),
}


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = ScheduleLedger(tmp_path / "schedules.json")
    assert ledger.load() == {}
    ledger.keep(KNOWN)
    assert ledger.load() == KNOWN
    assert (tmp_path / "schedules.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["schedules.json"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "{",
            "[]",
            "null",
            "\0",
            "[" * 100_000,
            '{"v": 0, "agents": {}}',
            '{"agents": {}}',
            '{"v": 1, "agents": []}',
        ),
        '{"v": 1, "agents": {"a": {"cron": "* * * * *", "since": "now"}}}',
        '{"v": 1, "agents": {"a": {"cron": "* * * * *", "since": NaN}}}',
        '{"v": 1, "agents": {"a": {"cron": "* * * * *", "since": 1e300}}}',
        '{"v": 1, "agents": {"a": {"cron": "* * * * *", "since": -1}}}',
    ],
)
def test_one_that_cannot_be_used_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "schedules.json"
    path.write_text(text)
    ledger = ScheduleLedger(path)
    assert ledger.load() == {}
    ledger.keep(KNOWN)
    assert ledger.load() == KNOWN


def test_a_folder_in_its_place_keeps_nothing_and_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    (path / "x").mkdir(parents=True)
    ledger = ScheduleLedger(path)
    assert ledger.load() == {}
    ledger.keep(KNOWN)
    assert ledger.load() == {}


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    entry = {"cron": "* * * * *", "since": 1, "more": True}
    path.write_text(json.dumps({"v": 1, "agents": {"a": entry}, "x": 1}))
    assert ScheduleLedger(path).load() == {"a": Standing("* * * * *", None, 1.0)}


def test_what_a_newer_agentd_wrote_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    text = '{"v": 2, "agents": ["of another form"]}'
    path.write_text(text)
    ledger = ScheduleLedger(path)
    assert ledger.load() == {}
    ledger.keep(KNOWN)
    assert path.read_text() == text
    # Once it is out of the way.
    path.unlink()
    another = ScheduleLedger(path)
    assert another.load() == {}
    another.keep(KNOWN)
    assert another.load() == KNOWN
