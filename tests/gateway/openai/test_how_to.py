"""The page on OpenAI's clients: all of its code does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.stand_in import COMMAND
from tests.support.agents import jcard
from tests.support.gateway import Gateway

PAGE = Path(__file__).parents[3] / "docs/how-to/openai-clients.md"
ADDRESS = "http://127.0.0.1:8765"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def reviewer(gateway: Gateway) -> Gateway:
    gateway.daemon.write_jcard(jcard({"name": "reviewer", "command": COMMAND}))
    gateway.daemon.start()
    gateway.start()
    return gateway


@pytest.mark.pages
def test_its_code_does_what_it_says(reviewer: Gateway) -> None:
    script = "\n".join(blocks("python")).replace(ADDRESS, reviewer.url)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "You said: What is in this folder?" in done.stdout
    assert "You said: Run the tests." in done.stdout

    ask, answer = (block.replace(ADDRESS, reviewer.url) for block in blocks("sh"))
    asked = subprocess.run(["sh", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert '"status": "completed"' in asked
    assert "You said: What is in this folder?" in asked
    run = reviewer.ask("GET", "/runs")["runs"][0]["id"]
    answered = subprocess.run(
        ["sh", "-c", re.sub(r"run_\w{26}", run, answer)], capture_output=True, text=True, check=True
    ).stdout
    assert '"not_found"' in answered, "it asks for nothing now"
