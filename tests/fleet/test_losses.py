"""What a fleet on Ray loses: an agentd, a host for an upgrade, one by its power, and one without its agentd.

Agents hold a lock of the kernel while they run, on all hosts the same: one that finds it taken says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.processes import marked
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(400), needs_ray]

_PATIENCE = 150.0
_LEASE = "10s"
"""As in `test_cluster`: a busy machine renews late."""


class Cluster:
    """Hosts of which each may be lost."""

    def __init__(self, daemons: list[Daemon], marks: Path, port: int) -> None:
        self.marks = marks
        self.port = port
        names = ("one", "two", "three")
        self.hosts = [
            Host(name, f"127.0.0.{at}", daemon) for at, (name, daemon) in enumerate(zip(names, daemons, strict=True), 1)
        ]

    @property
    def head(self) -> str:
        """Where hosts join."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        for host in self.hosts:
            host.daemon.start()
        self.join(self.hosts[0])
        for host in self.hosts[1:]:
            self.join(host, wait=False)
        for host in self.hosts[1:]:
            host.wait_ready()
        wait_for(lambda: len(self.hosts[0].fleet_hosts()) == len(self.hosts), _PATIENCE)

    def join(self, host: Host, *, wait: bool = True) -> None:
        """Start agentd-fleet there, as systemd does."""
        if host.log.exists():
            host.log.write_text("")
        if host is self.hosts[0]:
            host.start("head", "--port", str(self.port), "--lease", _LEASE)
        else:
            host.start("join", self.head)
        if wait:
            host.wait_ready()

    def apply(self, replicas: int) -> None:
        own = f"{self.marks}/$AGENTD_AGENT"
        script = (
            f"exec 9>>{own}; flock -n 9 || echo $AGENTD_AGENT >>{self.marks}/twice; trap exit INT TERM; "
            "while :; do sleep 0.2 9>&-; done"
        )
        text = f"""
[agent]
name = "w"
harness = "custom"
grace_period = "2s"
replicas = {replicas}
command = ["sh", "-c", '''{script}''']
"""
        self.hosts[0].ask("POST", "/v1/fleet/apply", {"jcard": text, "path": "fleet.toml"})

    def spread(self) -> tuple[int, ...]:
        return tuple(len(host.running()) if host.daemon.running else 0 for host in self.hosts)

    def wait_spread(self, *wanted: int) -> None:
        wait_for(lambda: self.spread() == wanted, _PATIENCE, what=str(wanted), explain=self.explain)
        self.check()

    def states(self) -> dict[str, str]:
        """None while nobody answers."""
        return {each["name"]: each["state"] for each in self.hosts[0].fleet_hosts()}

    def check(self) -> None:
        twice = self.marks / "twice"
        assert not twice.exists(), f"ran on two hosts: {twice.read_text()}\n{self.explain()}"

    def explain(self) -> str:
        logs = [f"--- {host.name}\n{host.log.read_text()[-3000:]}" for host in self.hosts]
        return "\n".join([str(self.spread()), *logs, str(self.hosts[0].fleet_hosts())])

    def stop(self) -> None:
        for host in reversed(self.hosts):
            host.stop()


@pytest.fixture
def cluster(
    daemon_factory: Callable[[], Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> Iterator[Cluster]:
    # Ray's nodes wait for a head that is gone for a minute.
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "3")
    made = Cluster([daemon_factory() for _ in range(3)], tmp_path, port)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def kill_agents(daemon: Daemon) -> None:
    """End tmux and all that runs in it, as a machine does that loses its power."""
    server = daemon.tmux_pid()
    if server is not None:
        os.kill(server, signal.SIGKILL)

    def ended() -> bool:
        left = marked(str(daemon.bin))
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return not left

    wait_for(ended)


def test_nothing_runs_twice_whatever_is_lost(cluster: Cluster) -> None:
    one, two, three = cluster.hosts
    cluster.apply(6)
    cluster.wait_spread(2, 2, 2)

    # An agentd: nobody notices.
    before = two.running()
    two.daemon.kill()
    wait_for(lambda: any(each["version"] is None for each in one.fleet_hosts()), _PATIENCE)
    two.daemon.start()
    wait_for(lambda: two.running() == before, _PATIENCE, explain=cluster.explain)

    # An upgrade of a host: it is drained, comes back as a new one, and is used again.
    one.ask("POST", "/v1/fleet/drain", {"host": "three"})
    cluster.wait_spread(3, 3, 0)
    stayed = {**one.running(), **two.running()}
    three.stop()
    three.daemon.restart()
    cluster.join(three)
    one.ask("POST", "/v1/fleet/uncordon", {"host": "three"})
    cluster.apply(9)
    cluster.wait_spread(3, 3, 3)
    assert stayed == {**one.running(), **two.running()}

    # Two hosts at once: one has lost its power, the other its agentd before it was cut off, and its agents run on.
    two.daemon.kill()
    wait_for(lambda: any(each["version"] is None for each in one.fleet_hosts()), _PATIENCE)
    two.kill()
    three.kill()
    three.daemon.kill()
    kill_agents(three.daemon)
    cluster.wait_spread(6, 0, 0)
    lost = {"one": "ready", "two": "lost", "three": "fenced"}
    wait_for(lambda: cluster.states() == lost, _PATIENCE, explain=cluster.explain)
    assert [each["host"] for each in one.ask("GET", "/v1/fleet/agents")].count("two") == 3
    # Somebody has looked after the one, and says so.
    kill_agents(two.daemon)
    one.ask("POST", "/v1/fleet/forget", {"host": "two"})
    cluster.wait_spread(9, 0, 0)
