"""The server, held to the protocol by what its makers wrote: the conformance suite and the inspector."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp.conftest import mcp_command
from tests.mcp.serving import Http, http_server
from tests.support.daemon import Daemon

TOOLS = Path(__file__).parents[2] / ".cache/conformance"

BY_REVISION = {
    "2025-11-25": {
        "server-initialize",
        "ping",
        "tools-list",
        "resources-list",
        "resources-subscribe",
        "resources-unsubscribe",
        "prompts-list",
        "server-sse-multiple-streams",
        "server-session-lifecycle",
        "dns-rebinding-protection",
    },
    "2026-07-28": {
        "tools-list",
        "resources-list",
        "prompts-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "caching",
        "http-header-validation",
        "sep-2164-resource-not-found",
        "server-stateless",
    },
}
"""The scenarios that need no fixtures of the suite's own in the server."""

WITH_FIXTURES = {
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
}
"""Checks of ``server-stateless`` that want the suite's own diagnostic tools."""

pytestmark = [
    pytest.mark.skipif(
        not (TOOLS / "installed").exists(), reason="there is no suite: tests/mcp/install-conformance fetches it"
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture
def http(daemon: Daemon) -> Iterator[Http]:
    """A server that asks for no token: the suite has none to give."""
    daemon.start()
    with http_server(daemon, "--no-token") as http:
        yield http


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the suite's."""
    return subprocess.run(
        [TOOLS / "node", (TOOLS / "node_modules/.bin" / script).resolve(), *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("revision", BY_REVISION)
def test_conformance(http: Http, revision: str, tmp_path: Path) -> None:
    done = run("conformance", "server", "--url", http.url, "--requirements", revision, "-o", "results", folder=tmp_path)
    failed: dict[str, set[str]] = {}
    for checks in (tmp_path / "results").rglob("checks.json"):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", checks.parent.name)
        failed[scenario] = {
            f"{check['id']}: {check.get('errorMessage')}"
            for check in json.loads(checks.read_text())
            if check["status"] == "FAILURE" and check["id"] not in WITH_FIXTURES
        }
    assert failed.keys() >= BY_REVISION[revision], done.stdout[-2000:] + done.stderr[-2000:]
    assert {name: failed[name] for name in BY_REVISION[revision] if failed[name]} == {}


def test_the_inspector_lists_and_calls(daemon: Daemon, tmp_path: Path) -> None:
    daemon.start()
    command, *arguments = mcp_command(daemon, "--toolsets=default,agents")
    entry = {"type": "stdio", "command": command, "args": arguments}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"agentd": entry}}))
    for method, found in (
        (["--method", "tools/list"], '"spawn_worker"'),
        (["--method", "tools/call", "--tool-name", "list_agents"], '"agents": []'),
        (["--method", "resources/read", "--uri", "agentd://onboarding"], "Hand work to workers"),
    ):
        done = run("mcp-inspector", "--cli", "--config", "mcp.json", "--server", "agentd", *method, folder=tmp_path)
        assert found in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
