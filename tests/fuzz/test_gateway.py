"""Schemathesis over agentd-gateway's document: every answer is what it says, and none is an error of the program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzz.effort import DEEP
from tests.gateway.stand_in import COMMAND
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.gateway import Gateway, managed_home

SCHEMATHESIS = Path(__file__).parents[2] / ".cache/schemathesis/bin/schemathesis"

TOKEN = "fuzz-t0ken"

PROGRAMS = ("claude", "codex", "opencode", "gemini")
"""Of agents that are hired: they only have to run."""


SETTINGS = """
# A closed session is shown.
[[operations]]
include-path-regex = "^/sessions/|^/runs"
checks.use_after_free.enabled = false

# A client is let wait for as long as it likes to.
[[operations]]
include-path = "/runs/{id}/wait"
parameters = { "query.timeout_s" = 0.1 }
"""


@pytest.mark.timeout(900)
@pytest.mark.skipif(not DEEP, reason="takes minutes: make fuzz")
def test_schemathesis_finds_the_answers_as_the_document_says(daemon: Daemon, tmp_path: Path) -> None:
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is not there: tests/fuzz/install-schemathesis fetches it")
    gateway = Gateway(daemon)
    for name in PROGRAMS:
        (daemon.bin / name).write_text("#!/bin/sh\nexec sleep 100000\n")
        (daemon.bin / name).chmod(0o755)
    # Agents of sessions that nobody speaks to go at once, and so few stand in the way of others.
    table = '[gateway]\nidle_timeout = "1s"\nmax_queue = 20\nmanaged_type = "native"\n'
    daemon.write_jcard(f"{jcard({'name': 'helper', 'command': COMMAND})}\n{table}{managed_home(daemon, table=True)}")
    daemon.start()
    gateway.start("--max-concurrency=2", env={"AGENTD_AUTH_TOKEN": TOKEN})
    try:
        document = tmp_path / "openapi.json"
        document.write_bytes(gateway.request("GET", "/openapi.json", token=TOKEN).body)
        (tmp_path / "schemathesis.toml").write_text(SETTINGS)
        done = subprocess.run(
            [SCHEMATHESIS, "run", document, "--url", gateway.url, "--header", f"Authorization: Bearer {TOKEN}",
             "--max-examples", "100", "--no-color", "--max-time", "240", "--generation-database", "none",
             "--report-dir", tmp_path, "--request-timeout", "30",
             # One never ends, and one is not implemented, as its document says.
             "--exclude-path", "/stream", "--exclude-path", "/v1/responses/input_tokens",
             # What is there, which agents are declared, and how full the queue is, no schema says.
             "--exclude-checks", "positive_data_acceptance"],
            capture_output=True, text=True, cwd=tmp_path, timeout=700, check=False,
            env={**os.environ, "HOME": str(tmp_path)}, start_new_session=True,
        )  # fmt: skip
        said = gateway.log_text()
    finally:
        problems = gateway.close()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert not problems, "\n".join(problems)
    assert TOKEN not in said
    print(done.stdout[-1500:])  # noqa: T201 (shown with -s, and by make fuzz)
