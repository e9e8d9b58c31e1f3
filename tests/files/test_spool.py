"""A folder in which one program leaves files for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.files import spool as module
from agentd.files.spool import SpoolFullError, read_spool, remove_parts, remove_spooled, spool


def test_what_is_left_is_read_in_order_until_it_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    assert read_spool(folder) == []
    assert spool(folder, "b", b"1")
    assert spool(folder, "a", b"2")
    assert not spool(folder, "b", b"3")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(read_spool(folder)) == [("a.json", b"2"), ("b.json", b"1")]
    remove_spooled(folder, ["b.json", "gone.json"])
    assert read_spool(folder) == [("a.json", b"2")]


def test_a_part_and_what_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"half")
    (tmp_path / ".hidden.json").write_bytes(b"x")
    (tmp_path / "b.json").symlink_to("/etc/passwd")
    (tmp_path / "c.json").mkdir()
    assert sorted(read_spool(tmp_path)) == [("b.json", b""), ("c.json", b"")]
    assert spool(tmp_path, "a", b"whole")
    assert ("a.json", b"whole") in read_spool(tmp_path)


def test_when_too_many_wait_no_more_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    assert spool(tmp_path, "a", b"")
    assert spool(tmp_path, "b", b"")
    with pytest.raises(SpoolFullError, match="2 files wait"):
        spool(tmp_path, "c", b"")
    assert not spool(tmp_path, "a", b"")


def test_parts_are_taken_away_and_nothing_else(tmp_path: Path) -> None:
    remove_parts(tmp_path / "gone")
    assert spool(tmp_path, "a", b"whole")
    (tmp_path / ".b.new").write_bytes(b"half")
    (tmp_path / ".other").touch()
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", ".other"}
