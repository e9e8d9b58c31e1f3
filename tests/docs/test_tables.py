"""What the pages show of a jcard is taken as it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from agentd.harness.registry import load_harnesses
from agentd.jcard.drop_ins import drop_in_context
from agentd.jcard.load import load_jcard
from agentd.settings.context import load_context
from tests.docs.newcomer import ROOT

OTHERS = ("project.entry-points",)
"""Tables of other files than a jcard."""


def _blocks() -> Iterator[tuple[str, str]]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    for page in sorted(pages):
        for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            if not block.lstrip().startswith(tuple(f"[{table}" for table in OTHERS)):
                yield str(page.relative_to(ROOT)), block


@pytest.mark.parametrize(("page", "block"), tuple(_blocks()))
def test_a_jcard_of_a_page_has_no_errors(page: str, block: str) -> None:
    config = ROOT / "jcard.toml"
    context = load_context(config, "ada", ROOT, load_harnesses().harnesses, ROOT)
    if "[drop_in]" in block:
        context = drop_in_context(context, ROOT / "jcard.d/a.toml", None)
    loaded = load_jcard(block.encode(), page, context)
    assert not loaded.errors
