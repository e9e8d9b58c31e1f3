"""A fleet whose hosts show each other a token, and hear nobody without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(400), needs_ray]

_STRANGER = "import ray, sys; ray.init(sys.argv[1], _node_ip_address='127.0.0.2', log_to_driver=False); print('heard')"


def heard(address: str, home: Path, **variables: str) -> bool:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **variables}
    done = subprocess.run(
        [sys.executable, "-c", _STRANGER, address], env=environment, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    return "heard" in done.stdout


def test_a_fleet_with_a_token_hears_nobody_without_it(
    daemon_factory: Callable[[], Daemon], tmp_path: Path, port: int
) -> None:
    token, address = tmp_path / "token", f"127.0.0.2:{port}"
    token.touch(0o600)
    token.write_text("0123456789abcdef" * 4)
    hosts = [Host(name, f"127.0.0.{at}", daemon_factory()) for at, name in enumerate(("one", "two"), 2)]
    one, two = hosts
    try:
        for host in hosts:
            host.daemon.start()
            host.more = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        one.start("head", "--port", str(port))
        one.wait_ready()
        two.start("join", address)
        two.wait_ready()
        wait_for(lambda: len(two.ask("GET", "/v1/fleet/hosts")) == len(hosts), 60, what="both are hosts")
        assert not heard(address, tmp_path)
        assert not heard(address, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="f" * 64)
        assert heard(address, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    finally:
        for host in reversed(hosts):
            host.stop()
