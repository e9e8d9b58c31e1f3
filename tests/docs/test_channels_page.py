"""What docs/how-to/channels.md shows is taken as it is shown: its tables, messages and commands."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from agentd.gateway.model.channels import Decided, Said, read
from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.settings.context import load_context
from tests.docs.newcomer import ROOT

PAGE = (ROOT / "docs/how-to/channels.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TYPED = {
    "pip install 'agentd[gateway,redis]'": "tests/packaging installs extras",
    'agentctl message send --channel reviews --text "Which tests fail?"': "tests/gateway/channels/test_redis.py",
    """redis-cli xadd agent:reviews '*' data '{"type": "user", "content": "Which tests fail?"}'""": "below",
    """redis-cli xadd agent:reviews '*' type user content "Which tests fail?\"""": "below",
    "redis-cli xread streams agent:reviews 0": "Redis' own",
}
"""Its commands, and who types them."""


@pytest.mark.parametrize("table", [text for kind, text in BLOCKS if kind == "toml"])
def test_a_table_of_the_page_has_no_errors(table: str) -> None:
    config = ROOT / "jcard.toml"
    loaded = load_jcard(
        table.encode(), str(config), load_context(config, "ada", ROOT, load_harnesses().harnesses, ROOT)
    )
    assert not loaded.errors
    assert loaded.gateway is not None
    assert len(loaded.gateway.channels) == 1


def test_the_messages_of_the_page_are_understood() -> None:
    said, decided = (read(text.encode()) for kind, text in BLOCKS if kind == "json")
    assert said == Said("Which tests fail?", "room-7", {"ticket": 42}, "mine-1")
    assert isinstance(decided, Decided)


def test_the_entries_of_the_page_are_understood() -> None:
    added = [
        shlex.split(line) for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if " xadd " in line
    ]
    whole, by_fields = (dict(zip(words[4::2], words[5::2], strict=True)) for words in added)
    assert read(whole["data"].encode()) == Said("Which tests fail?")
    assert read(json.dumps(by_fields).encode()) == Said("Which tests fail?")


def test_the_commands_of_the_page_are_known() -> None:
    assert {line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()} == {*TYPED}
