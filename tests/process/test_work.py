"""The CPU of agents' tools, told from that of the agents' own programs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentd.process.usage import Tree
from agentd.process.work import Asked, WorkMeter, runs_one_of
from tests.support.waiting import wait_for

CODEX = frozenset({"codex"})
GEMINI = frozenset({"gemini", "gemini-cli"})
USED = 0.2
BURN = f"import os, sys\nwhile sum(os.times()[:2]) < {USED}: pass\nsys.stdin.read()"


@pytest.mark.parametrize(
    ("command", "programs", "own"),
    [
        ("/usr/bin/codex --remote x", CODEX, True),
        ("node /usr/lib/node_modules/@openai/codex/bin/codex.js", CODEX, True),
        ("node --max-old-space-size=4096 /opt/@google/gemini-cli/dist/index.js", GEMINI, True),
        ("node /usr/bin/gemini", GEMINI, True),
        ("bash -c codex", CODEX, False),
        ("make -j8", CODEX, False),
        ("grep -r x /home/me/codex/src", CODEX, False),
        ("node /home/me/web/server.js", CODEX, False),
        ("claude", frozenset(), False),
        ("", CODEX, False),
    ],
)
def test_an_agents_own_program_is_known_by_its_name(command: str, programs: frozenset[str], own: bool) -> None:
    assert runs_one_of([word.encode() for word in command.split()], programs) is own


def test_a_tool_counts_and_the_agents_own_program_only_if_that_is_asked() -> None:
    """The launcher is a Python, and what it starts calls itself codex."""
    start = f"import subprocess, sys; subprocess.run(['codex', '-I', '-S', '-c', {BURN!r}], executable=sys.executable)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", start], stdin=subprocess.PIPE) as launcher:
        assert launcher.stdin is not None
        tree, meter = Tree("a", "run", launcher.pid), WorkMeter()

        def used(*, whole: bool = False, programs: frozenset[str] = frozenset()) -> float:
            return meter.measure([Asked(tree, whole, programs)])["a"]

        wait_for(lambda: used() >= USED, what="it has used some CPU")
        assert used(programs=CODEX) == 0.0
        assert used(programs=CODEX, whole=True) >= USED
        launcher.stdin.close()
