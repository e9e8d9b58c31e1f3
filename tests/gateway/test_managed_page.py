"""What docs/how-to/managed-agents.md shows is typed as it stands there, and answered as it says."""

from __future__ import annotations

import json
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.settings.context import load_context
from tests.docs.newcomer import ROOT
from tests.support import talking_claude
from tests.support.agents import jcard
from tests.support.gateway import Gateway, managed_home

PAGE = (ROOT / "docs/how-to/managed-agents.md").read_text()
BLOCKS = re.findall(r"^```(sh|json|toml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
URL = "http://127.0.0.1:8765"
SAID = {"Remove old.txt": 'tool mcp__files__delete {\\"path\\": \\"old.txt\\"}'}
"""What is said to the stand-in for what the page says to a model."""


def is_as(shown: Any, answer: Any) -> bool:  # noqa: ANN401
    """Whether an answer has all that is shown of it; … stands for anything."""
    match shown:
        case dict():
            return isinstance(answer, dict) and all(key in answer and is_as(shown[key], answer[key]) for key in shown)
        case list():
            return len(shown) == len(answer) and all(map(is_as, shown, answer))
        case str() if shown.endswith("…"):
            return str(answer).startswith(shown[:-1])
        case _:
            return bool(shown == answer)


def commands(block: str) -> list[str]:
    return [command for command in re.split(r"\n(?=curl )", block.strip()) if command]


def test_the_page_is_typed_and_answered(gateway: Gateway) -> None:
    talking_claude.install(gateway.daemon.bin)
    gateway.daemon.write_jcard(jcard() + managed_home(gateway.daemon))
    gateway.daemon.start()
    gateway.start()
    known: dict[str, str] = {}

    def ask(command: str) -> Any:  # noqa: ANN401
        for shown, said in (*SAID.items(), *known.items(), (URL, gateway.url)):
            command = command.replace(shown, said)
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=True)
        answer: Any = json.loads(done.stdout)
        assert isinstance(answer, list) or answer.get("error") is None, (command, answer)
        for kind, found in re.findall(r'"(?:session_id|request_id)": ?"((?:ses|cnf)_)(\w+)"', done.stdout.decode()):
            known[f"{kind}…"] = kind + found
        return answer

    def looks_as(shown: Any, command: str) -> bool:  # noqa: ANN401
        return is_as(shown, ask(command))

    last = ""
    answer: Any = None
    for kind, text in BLOCKS:
        shown = json.loads(text) if kind == "json" else None
        if kind == "sh":
            for last in commands(text):
                answer = ask(last)
        elif shown is not None and "confirmations" in shown:
            # What only looks may look again, until the agent asks.
            gateway.daemon.wait_for(partial(looks_as, shown, last), timeout=90, what=text)
        elif shown is not None:
            assert is_as(shown, answer), (last, answer)


@pytest.mark.parametrize("table", [text for kind, text in BLOCKS if kind == "toml"])
def test_a_table_of_the_page_has_no_errors(table: str) -> None:
    config = Path(ROOT / "jcard.toml")
    loaded = load_jcard(
        table.encode(), str(config), load_context(config, "ada", ROOT, load_harnesses().harnesses, ROOT)
    )
    assert not loaded.errors
