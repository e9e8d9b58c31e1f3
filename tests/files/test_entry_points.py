"""What installed packages bring is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.files.entry_points import entry_points_of


def test_all_groups_are_as_they_were_at_the_first_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    points = info / "entry_points.txt"
    points.write_text("[acme.one]\na = acme:A\n[acme.two]\nb = acme:B\nc = acme:C\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert [(point.name, point.value) for point in entry_points_of("acme.one")] == [("a", "acme:A")]
    points.unlink()
    assert [point.name for point in entry_points_of("acme.two")] == ["b", "c"]
    assert entry_points_of("acme.three") == []
