"""The examples are what people copy: each of them is a jcard that agentd takes without a warning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.daemon import program
from tests.support.forked import run_agentd
from tests.support.waiting import PATIENCE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
JCARDS = sorted(EXAMPLES.rglob("*.toml"))


@pytest.mark.parametrize("jcard", JCARDS, ids=[str(path.relative_to(EXAMPLES)) for path in JCARDS])
def test_each_example_is_valid_and_warns_of_nothing(jcard: Path) -> None:
    command = [program("agentd"), "--check", "--config", str(jcard)]
    done = run_agentd(command, env=os.environ, cwd=EXAMPLES, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr
