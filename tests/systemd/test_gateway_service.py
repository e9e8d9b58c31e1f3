"""The packaged unit of agentd-gateway under a real systemd, with all that it takes away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.waiting import wait_for
from tests.systemd.conftest import UNITS
from tests.systemd.machine import Installation, Machine

TABLE = '[gateway]\nlisten = ["127.0.0.1:8765", "unix:/run/agentd/gateway.sock"]'
URL = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def gateway(service: Installation) -> Machine:
    """The unit, enabled and running beside agentd's."""
    unit = "agentd-gateway.service"
    service.machine.run(f"""
        /opt/agentd/bin/pip install --quiet 'agentd[gateway]'
        cd /etc/systemd/system
        sed 's|/usr/bin/agentd|/opt/agentd/bin/agentd|' {UNITS.format("/opt/agentd")}/{unit} > {unit}
        cat >> /etc/stereos/jcard.toml <<'END'\n{TABLE}\nEND
        systemctl daemon-reload
        systemctl enable --quiet --now agentd-gateway
    """)
    return service.machine


def ask(machine: Machine, path: str, body: object = None) -> Any:  # noqa: ANN401
    sent = "" if body is None else f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    return json.loads(machine.said(f"curl -sS {URL}{path} {sent}"))


def test_it_declares_agents_and_remembers_with_all_that_the_unit_takes_away(gateway: Machine) -> None:
    assert ask(gateway, "/health")["agentd"] == "reachable"
    assert gateway.said("stat -c '%U:%G %a' /run/agentd/gateway.sock") == "root:admin 660"
    session = ask(gateway, "/sessions", {"agent": "watcher"})["session"]
    run = ask(gateway, f"/sessions/{session['id']}/messages", {"text": "hello"})["run"]["id"]
    name = session["tmux_session"]
    wait_for(lambda: name in gateway.said("tmux -S /run/agentd/tmux.sock list-sessions"), 60, what="its agent runs")
    gateway.run("systemctl kill --signal=KILL agentd-gateway")
    wait_for(lambda: gateway.run(f"curl -sS {URL}/health", check=False).returncode == 0, 60, what="it is there again")
    assert ask(gateway, f"/runs/{run}")["run"]["prompt"] == "hello"
    gateway.run("systemctl stop agentd-gateway")
    assert name in gateway.said("tmux -S /run/agentd/tmux.sock list-sessions")
    assert "Result=success" in gateway.said("systemctl show agentd-gateway --property=Result")
