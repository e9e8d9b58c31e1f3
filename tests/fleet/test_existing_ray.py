"""A host of a fleet by a node of Ray that somebody else has started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from agentd.fleet.ray_node import RayNode
from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.processes import called
from tests.support.ray_nodes import Node, needs_ray
from tests.support.waiting import wait_for

JCARD = """
[agent]
name = "w"
harness = "custom"
command = ["sleep", "1000"]
"""


@pytest.mark.fleet
@pytest.mark.timeout(280)
@needs_ray
def test_a_node_of_ray_that_is_there_is_used_and_left(daemon: Daemon, short_folder: Path, port: int) -> None:
    ray = Node(RayNode(short_folder / "r", "127.0.0.1", port=port), short_folder / "ray.log")
    host = Host("one", "127.0.0.1", daemon)
    try:
        daemon.start()
        ray.wait_ready()
        host.start("head", "--existing-ray", "--port", str(port))
        host.wait_ready()
        host.ask("POST", "/v1/fleet/apply", {"jcard": JCARD, "path": "fleet.toml"})
        wait_for(host.running, 60, what="the agent runs")
        assert host.process is not None
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(60) == 0, host.log.read_text()
        assert host.running(), "agents go on until their lease ends"
        wait_for(lambda: not named("ray::NodeActor", ray) and not named("ray::ControllerActor", ray), 60)
        assert named("raylet", ray)
    finally:
        host.stop()
        ray.stop()


def named(name: str, ray: Node) -> bool:
    return bool(called(ray.processes, name))
