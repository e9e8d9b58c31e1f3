from __future__ import annotations

from tests.soak.oracle import Seen, twice


def seen(**runs: str) -> Seen:
    """One process for each of an agent's runs."""
    return Seen({name: {run: frozenset({1}) for run in names.split()} for name, names in runs.items()})


def test_two_runs_are_at_once_if_a_second_look_finds_both() -> None:
    assert twice(seen(a="1", b="2"), seen) == []
    assert twice(seen(a="1 2", b="3"), lambda: seen(a="2", b="3 4")) == []
    (found,) = twice(seen(a="1 2", b="3 4"), lambda: seen(a="1 2", b="4"))
    assert found.startswith("a: ")
