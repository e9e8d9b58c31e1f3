"""agentd as the first process of a container: orphans are reaped, signals arrive, the status is the daemon's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.processes import children_named

pytestmark = [
    pytest.mark.program,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed"),
]

ORPHANS = ["sh", "-c", "for each in 1 2 3; do (sleep 0 &); (setsid sleep 0 &); done; touch orphaned; exec sleep 600"]


@pytest.fixture
def container(daemon: Daemon) -> Iterator[psutil.Process]:
    """agentd in a PID namespace of its own, where it is the first process."""
    daemon.write_jcard(jcard({"name": "parent", "command": ORPHANS}))
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *daemon.command("--agent-user=root")],
            env=daemon.environment(), cwd=daemon.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        daemon.wait_for((daemon.folder / "orphaned").exists, what="the agent made its orphans")
        yield psutil.Process(daemon.pid).children()[0]
    finally:
        # Ends all that is in it.
        with contextlib.suppress(psutil.NoSuchProcess, StopIteration):
            next(iter(psutil.Process(daemon.pid).children())).kill()
        daemon.wait_exit()


def zombies(first: psutil.Process) -> list[str]:
    found = []
    for child in first.children():
        # It is reaped meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(child.status())
    return [state for state in found if state == psutil.STATUS_ZOMBIE]


def test_orphans_are_reaped_and_a_signal_stops_the_agents(daemon: Daemon, container: psutil.Process) -> None:
    daemon.wait_for(lambda: not zombies(container), what="no zombie is left")
    assert len(children_named(container.pid, "agentd")) == 1
    assert daemon.health()["pid"] != 1
    container.send_signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert daemon.log_text().count('"event": "stopped"') == 1
    assert '"event": "second_signal"' not in daemon.log_text()


def test_the_status_is_the_daemons(daemon: Daemon, container: psutil.Process) -> None:
    (the_daemon,) = children_named(container.pid, "agentd")
    the_daemon.kill()
    assert daemon.wait_exit() == 128 + signal.SIGKILL
