"""The programs that the documents tell people to run say how."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        # The first two import all of agentd, 3 s of CPU; .ci/run runs both programs.
        *(
            pytest.param(module, marks=pytest.mark.thorough)
            for module in ("benchmarks", "tests.faults", "benchmarks.peers")
        ),
        "tests.soak",
    ],
)
def test_each_program_has_a_help(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
