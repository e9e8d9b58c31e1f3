"""The book of budgets and its file: what is read again, and what is left alone."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from agentd.supervise.budgets import Account
from agentd.turns.budgets.ledger import Ledger

ACCOUNT = Account("r1", Decimal("1.25"), 3, "t3", "2026-03-01", Decimal("7.000001"), 5.5, ("usd", "turns"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budgets.json"


def test_what_is_written_is_read_again(path: Path) -> None:
    accounts = {"a": ACCOUNT, "b": Account()}
    assert Ledger(path).write(accounts, "2026-03-01", "Europe/Berlin")
    assert Ledger(path).read() == accounts
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["zone"] == "Europe/Berlin"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_without_a_file_nothing_was_used(path: Path) -> None:
    assert Ledger(path).read() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": "1"}',
        '{"version": 1}',
        '{"version": 1, "agents": []}',
        '{"version": 1, "agents": {"a": 3}}',
        '{"version": 1, "agents": {"a": {"run_usd": 3}}}',
        '{"version": 1, "agents": {"a": {"run_usd": "NaN"}}}',
        '{"version": 1, "agents": {"a": {"run_usd": "-1"}}}',
        '{"version": 1, "agents": {"a": {"run_usd": "many"}}}',
        '{"version": 1, "agents": {"a": {"run_turns": -1}}}',
        '{"version": 1, "agents": {"a": {"run_turns": 1e999}}}',
        '{"version": 1, "agents": {"a": {"breached": "usd"}}}',
        '{"version": 1, "agents": {"a": {"turn": 3}}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_said_and_written_anew(path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    path.write_text(text)
    ledger = Ledger(path)
    assert ledger.read() == {}
    said = capfd.readouterr()
    assert "budgets_forgotten" in said.out + said.err
    assert ledger.write({"a": ACCOUNT}, "d", "z")
    assert Ledger(path).read() == {"a": ACCOUNT}


def test_what_a_newer_agentd_wrote_is_left_as_it_is(path: Path) -> None:
    newer = '{"version": 2, "agents": {}}'
    path.write_text(newer)
    ledger = Ledger(path)
    assert ledger.read() == {}
    assert ledger.write({"a": ACCOUNT}, "d", "z")
    assert path.read_text() == newer


def test_a_disk_that_takes_nothing_leaves_the_file_as_it_was(path: Path, tmp_path: Path) -> None:
    assert Ledger(path).write({"a": ACCOUNT}, "d", "z")
    (tmp_path / ".budgets.json.new").mkdir()
    assert not Ledger(path).write({}, "d", "z")
    assert Ledger(path).read() == {"a": ACCOUNT}
