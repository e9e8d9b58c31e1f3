from __future__ import annotations

from pathlib import Path

import pytest

from agentd.fleet.ray_node import RayNode, ray_environment
from tests.support.ray_nodes import Node, needs_ray


def test_a_node_listens_where_it_is_told_and_reports_nothing() -> None:
    command = RayNode(Path("/run/fleet"), "10.0.0.1").command("ray")
    assert {"--head", "--node-ip-address=10.0.0.1", "--include-dashboard=false", "--disable-usage-stats"} < set(command)
    assert "--address=10.0.0.1:6379" in RayNode(Path("/run/fleet"), "10.0.0.2", "10.0.0.1:6379").command("ray")
    assert ray_environment({})["RAY_USAGE_STATS_ENABLED"] == "0"


def test_what_the_user_says_of_ray_wins() -> None:
    assert ray_environment({"RAY_health_check_period_ms": "9"})["RAY_health_check_period_ms"] == "9"


@pytest.mark.fleet
@needs_ray
def test_a_node_of_ray_starts_takes_less_than_half_a_gigabyte_and_leaves_nothing(short_folder: Path, port: int) -> None:
    node = Node(RayNode(short_folder / "r", "127.0.0.1", port=port), short_folder / "ray.log")
    try:
        node.wait_ready()
        processes, memory = node.processes, node.memory
    finally:
        node.stop()
    assert memory < 500 * 2**20, memory
    assert not [process for process in processes if process.is_running()]
