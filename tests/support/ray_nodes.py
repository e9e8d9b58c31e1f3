"""Nodes of Ray on loopback, with all they write in a folder of the test, ended by their process ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from agentd.fleet.ray_node import RayNode, ray_environment
from tests.support.waiting import wait_for

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="there is no ray: make fleet-test")

_START = 90.0
"""Seconds: it takes six on two idle cores."""


class Node:
    """A node of Ray that runs."""

    def __init__(self, node: RayNode, log: Path) -> None:
        self.node = node
        self._log = log
        ray = str(Path(sys.executable).with_name("ray"))
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                node.command(ray), env=ray_environment(os.environ), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Wait until its raylet is there."""
        wait_for(self._ready, _START, what="Ray has started", explain=self._log.read_text)

    def _ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return "Ray runtime started" in self._log.read_text()

    @property
    def processes(self) -> list[psutil.Process]:
        """All that belongs to it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._process.pid)
            return [own, *own.children(recursive=True)]
        return []

    @property
    def memory(self) -> int:
        """Bytes that it takes; what processes share counts once."""
        total = 0
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def kill(self) -> None:
        """SIGKILL all of it, as a host that loses its power does."""
        everyone = self.processes
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everyone, timeout=10)
        self._process.wait(10)

    def stop(self) -> None:
        """End it in order, and what is left of it after ten seconds by force."""
        everyone = self.processes
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        _, alive = psutil.wait_procs(everyone, timeout=5)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)
