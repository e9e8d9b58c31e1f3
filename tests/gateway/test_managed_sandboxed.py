"""A managed agent is sandboxed by itself where the machine can, and confirmed there as elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.test_managed import SERVERS
from tests.sandbox.conftest import PYTHON, Sandboxed, sandboxed
from tests.support import talking_claude
from tests.support.agents import jcard
from tests.support.forked import launch_of
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for

__all__ = ["sandboxed"]


@pytest.fixture
def gateway(request: pytest.FixtureRequest, sandboxed: Sandboxed) -> Iterator[Gateway]:
    """A gateway that is told nothing of sandboxes."""
    daemon = sandboxed.daemon
    program = daemon.bin / "claude"
    program.write_text(f"#!{PYTHON} -IS\n{Path(talking_claude.__file__).read_text()}")
    program.chmod(0o755)
    daemon.data.mkdir(mode=0o755)
    sandboxed.give(daemon.data)
    sandboxed.start(jcard())
    gateway = Gateway(daemon, launch_of(request))
    gateway.start(*sandboxed.flags[:1])
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])


def test_it_is_sandboxed_talked_to_and_confirmed(gateway: Gateway) -> None:
    daemon = gateway.daemon
    body = {"username": "bob", "name": "boxed", "json_config": {"mcp": {"servers": SERVERS}}}
    made = gateway.ask("POST", "/agents", body)
    assert made["type"] == "sandboxed"
    sent = gateway.ask("POST", f"/sessions/{made['session_id']}/messages", {"text": "tool mcp__toy__delete"})

    def asked() -> list[dict[str, str]]:
        found: list[dict[str, str]] = gateway.ask("GET", "/agents/boxed/confirmations")["confirmations"]
        return found

    (waiting,) = wait_for(asked, 90, what="it asks", explain=daemon.explain)
    assert waiting["tool_name"] == "delete"
    gateway.ask("POST", f"/agents/boxed/confirmations/{waiting['request_id']}", {"confirmed": True})
    run = gateway.ask("GET", f"/runs/{sent['run']['id']}/wait?timeout_s=90")["run"]
    assert (run["status"], run["result_text"]) == ("succeeded", "mcp__toy__delete ran")
    shown = daemon.agents()["bob--boxed"]
    assert (shown["type"], shown["activity_source"]) == ("sandboxed", "hooks")
    assert [*(daemon.data / "sandboxes" / "bob--boxed" / ".claude" / "sessions").iterdir()]
    gateway.ask("DELETE", "/agents/boxed")
    assert not [*(daemon.data / "sandboxes").iterdir()]
