"""The installed package is removed or replaced under a running gateway, as by an upgrade."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from tests.gateway.stand_in import declare, send, session, wait
from tests.support.daemon import Daemon
from tests.support.gateway import Gateway
from tests.support.installed import WAYS, Installation


class InstalledGateway(Gateway):
    """A gateway whose package is its own."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        self.installation = Installation(daemon.folder, module="agentd.gateway.command_line")

    def command(self, *arguments: str, listen: Sequence[str] | None = None) -> list[str]:
        return [*self.installation.command(), *super().command(*arguments, listen=listen)[1:]]


@pytest.fixture
def gateway(daemon: Daemon) -> Iterator[InstalledGateway]:
    gateway = InstalledGateway(daemon)
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])


@pytest.mark.parametrize(
    "way", [way if way == "removed" else pytest.param(way, marks=pytest.mark.thorough) for way in WAYS]
)
def test_a_running_gateway_needs_nothing_of_its_package(gateway: InstalledGateway, way: str) -> None:
    declare(gateway, max_concurrency=2, turn_timeout="1h")
    gateway.daemon.start()
    gateway.start()
    began = time.monotonic()
    WAYS[way](gateway.installation)

    for path in (
        "/",
        "/health",
        "/sessions",
        "/runs",
        "/daemon/status",
        "/openapi.json",
        "/docs",
        "/metrics",
        "/channels",
    ):
        assert gateway.request("GET", path).status == 200, path
    for name in ("chat", "main"):
        assert gateway.request("GET", f"/static/{name}.js").status in (200, 404)
    made = session(gateway)
    assert wait(gateway, send(gateway, made, "hello"))["result_text"] == "You said: hello"
    asked = send(gateway, made, "ASK-PERMISSION")
    gateway.daemon.wait_for(
        lambda: gateway.ask("GET", f"/runs/{asked}")["run"]["status"] == "awaiting_input", what="it asks"
    )
    assert gateway.ask("GET", f"/runs/{asked}/diagnose")["diagnostics"]["likely_issue"] == "awaiting_input"
    gateway.ask("POST", f"/runs/{asked}/cancel")
    answer = gateway.ask("POST", "/v1/responses", {"model": "helper", "input": "STUB-SLEEP:0 hi"})
    assert answer["status"] == "completed"
    stream = gateway.request("POST", "/v1/responses", {"model": "helper", "input": "hi", "stream": True})
    assert b"response.completed" in stream.body
    chat = {"model": "helper", "messages": [{"role": "user", "content": "hi"}]}
    assert gateway.request("POST", "/v1/chat/completions", chat).status == 200
    assert gateway.request("POST", "/v1/conversations", {}).status == 200
    assert gateway.request("POST", "/sessions", {"agent": 1}).status == 422
    assert gateway.request("POST", "/sessions", b"{").status == 400
    assert gateway.request("GET", "/agents").status == 200
    hire = {"role": "engineer", "name": "al ice"}
    assert gateway.request("POST", "/hire", hire).status == 422
    made_agent = {"username": "alice", "name": "helper", "json_config": {"mcp": {"servers": {}}}, "harness": "codex"}
    assert gateway.request("POST", "/agents", made_agent).status in (201, 422)
    gateway.daemon.jcard.write_text(gateway.daemon.jcard.read_text() + "\n[[gateway.tokens]]\nuser = 3\n")
    gateway.daemon.wait_for(lambda: "gateway.tokens" in gateway.log_text(), what="a faulty table is told")
    gateway.ask("DELETE", f"/sessions/{made}")
    assert gateway.stop() == 0, gateway.log_text()
    late = gateway.installation.imported_since(began)
    assert late == []
