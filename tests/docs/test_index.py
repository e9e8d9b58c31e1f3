"""The pages' links lead somewhere. That docs/README.md has all pages is checked by scripts/reference.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.newcomer import ROOT

INDEX = ROOT / "docs/README.md"
TEXTS = [
    *(path for path in ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks/README.md",
]


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Give the files that a page links to, each with the heading that is meant, if one is."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if "://" not in target:
            path, _, heading = target.partition("#")
            yield (page.parent / path).resolve() if path else page, heading


def headings(page: Path) -> set[str]:
    """Give the names by which a page's headings are linked to."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, heading in links(page):
        assert target.exists(), target
        assert not heading or heading in headings(target), f"{target}#{heading}"


def test_the_index_has_the_four_kinds() -> None:
    kinds = re.findall(r"^\*\*(\S+)\*\*", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    assert kinds == ["Tutorial", "How-to", "Reference", "Explanation"]
