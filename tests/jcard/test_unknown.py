"""Which agents may still be declared by a file that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.jcard.drop_ins import SourceFile, merge
from agentd.jcard.problems import LoadResult
from agentd.jcard.unknown import UnknownSources, unknown_sources

FOLDER = Path("/etc/jcard.d")
JCARD = FOLDER.with_name("jcard.toml")
GOOD = LoadResult((), ())


def unknown(bad: set[Path], *unlisted: Path) -> UnknownSources:
    """Of the jcard and two drop-ins, those that were never good."""
    paths = (JCARD, FOLDER / "a.toml", FOLDER / "team/b.toml")
    files = merge(SourceFile(path, None, None if path in bad else GOOD, "cannot be read") for path in paths)
    return unknown_sources(FOLDER, files, unlisted)


@pytest.mark.parametrize(
    ("bad", "unlisted", "source", "covered"),
    [
        ((), (), JCARD, False),
        ((JCARD,), (), JCARD, True),
        # A jcard that was named before this one.
        ((JCARD,), (), "/elsewhere/jcard.toml", True),
        ((), (), "/elsewhere/jcard.toml", False),
        ((JCARD,), (), FOLDER / "a.toml", False),
        ((FOLDER / "a.toml",), (), FOLDER / "a.toml", True),
        ((FOLDER / "a.toml",), (), FOLDER / "team/b.toml", False),
        ((FOLDER / "a.toml",), (), FOLDER / "removed.toml", False),
        ((FOLDER / "a.toml",), (), JCARD, False),
        ((), (FOLDER,), FOLDER / "removed.toml", True),
        ((), (FOLDER,), FOLDER / "team/removed.toml", True),
        ((), (FOLDER / "team",), FOLDER / "team/removed.toml", True),
        ((), (FOLDER / "team",), FOLDER / "removed.toml", False),
        # What it held is known, and what it declares too: only that no more.
        ((), (FOLDER,), FOLDER / "a.toml", False),
        ((), (), None, False),
        ((FOLDER / "a.toml",), (), None, True),
        ((), (FOLDER,), None, True),
    ],
)
def test_an_agent_is_covered_by_its_own_file_alone(
    bad: tuple[Path, ...], unlisted: tuple[Path, ...], source: Path | str | None, covered: bool
) -> None:
    found = unknown(set(bad), *unlisted)
    assert found.covers(None if source is None else str(source)) == covered
