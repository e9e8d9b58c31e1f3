"""The file of triggers: read as it was written, and never trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.daemon.trigger_ledger import TriggerLedger
from agentd.model.triggers import Delivery
from agentd.supervise.trigger_queue import Kept, SeenFiles
from agentd.supervise.triggering import Standing

FIRST = Delivery("1", "inbox", {"path": "/in/\u00e4 \\x.csv"}, 7.5)
KNOWN = Kept(
    {"a": Standing(1.0, (FIRST,), Delivery("0", "inbox", {}, 1.0), ("0", "1"), True, "now"), "b": Standing(2.0)},
    {"a/inbox//in/*": SeenFiles(12, frozenset({"x.csv", "\udcff\\ \u00e4\n"}))},
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = TriggerLedger(tmp_path / "triggers.json")
    assert ledger.load() == Kept()
    ledger.keep(KNOWN)
    assert ledger.load() == KNOWN
    assert (tmp_path / "triggers.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["triggers.json"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "\0", "[" * 100_000, '{"v": 0, "agents": {}}', '{"agents": {}}'),
        '{"v": 1, "agents": {"a": {"since": "now"}}}',
        '{"v": 1, "agents": {"a": {"since": 1, "waiting": [{"id": "1"}]}}}',
        '{"v": 1, "agents": {}, "seen": {"a": {"folder": 1, "names": ["\\\\x"]}}}',
        '{"v": 1, "agents": {}, "seen": {"a": {"folder": 1, "names": ["\\u00e4"]}}}',
    ],
)
def test_one_that_cannot_be_used_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "triggers.json"
    path.write_text(text)
    ledger = TriggerLedger(path)
    assert ledger.load() == Kept()
    ledger.keep(KNOWN)
    assert ledger.load() == KNOWN


def test_a_folder_in_its_place_keeps_nothing_and_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "triggers.json"
    (path / "x").mkdir(parents=True)
    ledger = TriggerLedger(path)
    assert ledger.load() == Kept()
    ledger.keep(KNOWN)
    assert not ledger.written
    assert ledger.load() == Kept()


def test_what_a_newer_agentd_wrote_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "triggers.json"
    text = '{"v": 2, "agents": ["of another form"]}'
    path.write_text(text)
    ledger = TriggerLedger(path)
    assert ledger.load() == Kept()
    ledger.keep(KNOWN)
    assert not ledger.written
    assert path.read_text() == text
    # Once it is out of the way.
    path.unlink()
    another = TriggerLedger(path)
    assert another.load() == Kept()
    another.keep(KNOWN)
    assert another.written
    assert another.load() == KNOWN
