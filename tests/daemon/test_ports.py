"""Agents have ports of their own, which stay the same."""

from __future__ import annotations

import socket
import sys

import pytest

from tests.cli.support import Client
from tests.daemon.support import declare, start
from tests.daemon.test_turns import kinds
from tests.support.daemon import Daemon

LISTENS = (
    "import os, socket, time; s = socket.create_server(('', int(os.environ['PORT']))); print('up'); time.sleep(600)"
)


def listens(name: str, **fields: object) -> dict[str, object]:
    command = [sys.executable, "-I", "-S", "-u", "-c", LISTENS]
    return {"name": name, "command": command, "grace_period": "20s", "ports": ["PORT", "DB_PORT"], **fields}


def up(daemon: Daemon, name: str) -> dict[str, int]:
    """Wait until it listens; gives its ports."""
    daemon.wait_for(lambda: "up" in daemon.screen(name), what=f"{name} listens")
    agent = daemon.agent(name)
    assert agent is not None
    assert agent["ports"].keys() == {"PORT", "DB_PORT"}
    socket.create_connection(("127.0.0.1", agent["ports"]["PORT"]), 10).close()
    return agent["ports"]


def test_each_replica_has_ports_that_stay_over_edits_and_restarts_of_agentd(daemon: Daemon) -> None:
    start(daemon, listens("a", replicas=2))
    ports = {name: up(daemon, name) for name in ("a-0", "a-1")}
    pids = {name: daemon.agents()[name]["pid"] for name in ports}
    assert len({port for each in ports.values() for port in each.values()}) == 4
    daemon.wait_for(lambda: kinds(daemon).count("ports_assigned") == 2, what="it is told")
    client = Client(daemon.folder, daemon.places)
    assert client("plan", str(daemon.jcard)).out == ""
    assert f"ports\tPORT={ports['a-0']['PORT']}, DB_PORT={ports['a-0']['DB_PORT']}\n" in client("status", "a-0").out

    # Nothing is restarted by another daemon, nor by another agent.
    daemon.kill()
    daemon.start()
    declare(daemon, listens("a", replicas=2), listens("b"))
    up(daemon, "b")
    for name, each in ports.items():
        assert (daemon.agents()[name]["ports"], daemon.agents()[name]["pid"]) == (each, pids[name])
    # Told of b alone; a killed daemon may have lost what it told.
    assert kinds(daemon).count("ports_assigned") <= 3

    # Removed, and declared again.
    declare(daemon, listens("b"))
    daemon.wait_gone("a-0")
    declare(daemon, listens("b"), listens("a", replicas=2))
    assert up(daemon, "a-0") == ports["a-0"]


@pytest.mark.thorough
def test_an_agent_waits_while_somebody_else_listens_on_its_port(daemon: Daemon) -> None:
    start(daemon, listens("a", enabled=False))
    daemon.wait_state("a", "disabled")
    declare(daemon, listens("a"))
    port = up(daemon, "a")["PORT"]
    declare(daemon, listens("a", enabled=False))
    daemon.wait_state("a", "disabled")
    with socket.create_server(("127.0.0.1", port)):
        declare(daemon, listens("a"))
        failed = daemon.wait_state("a", "failed")
        assert failed["error"] is not None
        assert f"port {port}, which PORT gives it, is in use by another program" in failed["error"]
    assert up(daemon, "a")["PORT"] == port
