from __future__ import annotations

from pathlib import Path

from tests.soak.oracle import Mark, Seen, marks, twice


def seen(**runs: str) -> Seen:
    """One process for each of an agent's runs."""
    return Seen({name: {run: frozenset({1}) for run in names.split()} for name, names in runs.items()})


def test_two_runs_are_at_once_if_a_second_look_finds_both() -> None:
    assert twice(seen(a="1", b="2"), seen) == []
    assert twice(seen(a="1 2", b="3"), lambda: seen(a="2", b="3 4")) == []
    (found,) = twice(seen(a="1 2", b="3 4"), lambda: seen(a="1 2", b="4"))
    assert found.startswith("a: ")


def test_a_mark_counts_once_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1 first 0\n2 without \n3 last ")
    assert marks(tmp_path, "a") == [Mark(1, "first", 0), Mark(2, "without", -1)]
    assert marks(tmp_path, "b") == []
