"""Where nothing holds limits the agents run all the same, and it is said everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.limits.conftest import Limited
from tests.support.daemon import Daemon, Running, launch_program, program
from tests.support.forked import run_agentctl
from tests.support.waiting import PATIENCE

_WITHOUT = 'mount --make-rprivate / && umount -R /sys/fs/cgroup && exec "$@"'
"""In a mount namespace of its own."""


def launch_without(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> Running:
    """Start agentd where no control groups are mounted."""
    return launch_program(["unshare", "--mount", "sh", "-c", _WITHOUT, "sh", *argv], env=env, cwd=cwd, log=log)


@pytest.fixture
def unlimited(short_folder: Path) -> Iterator[Limited]:
    """A daemon that can limit nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can take the control groups away")
    folder = short_folder / "d"
    folder.mkdir()
    daemon = Daemon(folder, launch_without)
    yield Limited(daemon)
    assert daemon.close() == []


def agentctl(limited: Limited, *arguments: str) -> str:
    daemon = limited.daemon
    command = [
        *(program("agentctl"), f"--api-socket={daemon.api_socket}", f"--tmux-socket={daemon.tmux_socket}"),
        *(f"--config={daemon.jcard}", *arguments),
    ]
    done = run_agentctl(command, env=daemon.environment(), cwd=daemon.folder, timeout=PATIENCE)
    return done.stdout + done.stderr


@pytest.mark.thorough
def test_what_is_not_enforced_is_said(unlimited: Limited) -> None:
    unlimited.declare(a={"memory": "64MiB", "cpu": 1.5}, off={"pid_limit": 5, "enabled": False})
    unlimited.daemon.start()
    unlimited.running("a")
    why = (
        "control groups of version 2 are not mounted; no control groups of version 1 are mounted that agentd may write"
    )
    assert unlimited.limits("a") == {
        "memory": {"value": 64 << 20, "peak": None, "enforced_by": None, "reason": why},
        "cpu": {"value": 1.5, "peak": None, "enforced_by": None, "reason": why},
    }
    # Some clients take bytes as whole numbers only.
    assert isinstance(unlimited.limits("a")["memory"]["value"], int)
    assert unlimited.daemon.log_text().count("limits_not_enforced") == 1
    assert f"memory and cpu not enforced: {why}" in agentctl(unlimited, "status")
    assert f"memory 64MiB (not enforced: {why}); cpu 1.5 (not enforced: {why})" in agentctl(unlimited, "status", "a")
    assert f'memory, cpu of agent "a" is not enforced: {why}' in agentctl(unlimited, "doctor")
