"""agentctl asks a fleet of one host on Ray, as it asks an agentd."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import Client
from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(280), needs_ray]

TICKS = """
[agent]
name = "t"
harness = "custom"
grace_period = "1s"
command = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.2; done"]
"""


@pytest.fixture
def host(daemon: Daemon, port: int) -> Iterator[Host]:
    made = Host("one", "127.0.0.1", daemon)
    try:
        made.daemon.start()
        made.start("head", "--port", str(port))
        made.wait_ready()
        yield made
    finally:
        made.stop()


def client_of(daemon: Daemon) -> Client:
    return Client(daemon.folder, {**daemon.places})


def test_what_agents_do_is_seen_and_followed_from_elsewhere(host: Host, tmp_path: Path) -> None:
    client = client_of(host.daemon)
    jcard = tmp_path / "fleet.toml"
    jcard.write_text(TICKS)
    done = client("fleet", "apply", jcard)
    assert (done.status, done.rows) == (0, [["+", "start", "t", "one", "-", "-"]]), done.err
    wait_for(host.running, 60, what="the agent runs")
    assert client("wait", "--fleet", "t", "--for", "running", "--timeout", "30s").out == "t is running\n"
    assert [(row[0], row[1], row[-1]) for row in client("status", "--fleet").rows] == [("t", "running", "one")]
    assert client("fleet", "hosts").rows[0][:4] == ["one", "ready", "1", "1/40"]
    assert "tick" in client("screen", "--fleet", "t").out
    assert any("host=one" in row[-1] for row in client("events", "--fleet").rows)
    following = client.start("logs", "--fleet", "-f", "t")
    try:
        assert following.stdout is not None
        seen = [following.stdout.readline() for _ in range(30)]
    finally:
        following.terminate()
        _, said = following.communicate(timeout=20)
    assert seen[-1].startswith("tick "), (seen, said, host.log.read_text())
    # What is followed ends when the agent does: the state is heard of by events.
    waiting = client.start("wait", "--fleet", "t", "--for", "exited,failed", "--timeout", "60s")
    try:
        host.daemon.tmux("send-keys", "-t", "t", "C-c")
        out, err = waiting.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        waiting.kill()
        waiting.communicate()
        raise
    assert (waiting.returncode, out[:5]) == (0, "t is "), err
