"""Which files of a folder have a name like a pattern."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.files import appearing
from agentd.files.appearing import MISSING, Listed, list_matching


def names(folder: Path, pattern: str) -> set[str]:
    found = list_matching(folder, pattern)
    assert isinstance(found, Listed)
    assert found.folder == folder.stat().st_ino
    return set(found.files)


def test_regular_files_are_found_by_a_shell_s_pattern(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", ".c.csv", "d.CSV", "e.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    os.mkfifo(tmp_path / "fifo.csv")
    assert names(tmp_path, "*.csv") == {"a.csv", "b.csv"}
    assert names(tmp_path, "[ab].csv") == {"a.csv", "b.csv"}
    assert names(tmp_path, "?.CSV") == {"d.CSV"}
    assert names(tmp_path, ".*.csv") == {".c.csv"}
    assert names(tmp_path, "e.txt") == {"e.txt"}


def test_a_file_that_is_written_is_another_one_than_before(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    before = list_matching(tmp_path, "a")
    assert list_matching(tmp_path, "a") == before
    (tmp_path / "a").write_text("more")
    assert list_matching(tmp_path, "a") != before


def test_a_folder_that_is_not_there_has_nothing_and_what_is_none_says_so(tmp_path: Path) -> None:
    assert list_matching(tmp_path / "gone", "*") == Listed(MISSING)
    (tmp_path / "file").touch()
    assert list_matching(tmp_path / "file", "*") == "Not a directory"


def test_of_a_folder_with_too_many_entries_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appearing, "MOST_ENTRIES", 2)
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    assert names(tmp_path, "*") == {"a", "b"}
    (tmp_path / "c").touch()
    assert list_matching(tmp_path, "a") == "it has more than 2 entries"
