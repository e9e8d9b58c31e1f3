"""masterblaster writes the jcard, stereosd provisions and polls, agents work: the whole chain, in stereOS' order.

Needs root and unshare, for users and mounts of its own: ``sudo make test ARGS=tests/daemon/test_chain.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.guest import ADMIN, AGENT, Guest, python
from tests.support.masterblaster import as_written
from tests.support.thorough import everyday
from tests.support.user_database import alone_with_users

SECRETS = {"ANTHROPIC_API_KEY": "sk-first", "GITHUB_TOKEN": "ghp-second", "NPM_TOKEN": "npm-third"}
GET = python(
    "import socket",
    "connection = socket.socket(socket.AF_UNIX)",
    "connection.connect('/run/stereos/agentd.sock')",
    "connection.sendall(b'GET /v1/agents HTTP/1.0\\r\\n\\r\\n')",
    "print(connection.makefile().read())",
)


def _possible() -> bool:
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "probe", "/run"]
    return (
        os.geteuid() == 0
        and all(map(shutil.which, ("unshare", "nsenter", "bash")))
        and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(
    not _possible(), reason="needs root, bash, and mount namespaces: sudo make test ARGS=tests/daemon/test_chain.py"
)


@pytest.fixture
def _turn() -> Iterator[None]:
    """Let one guest run at a time: all have their sockets at the same paths, and see each other's servers in /proc."""
    with alone_with_users():
        yield


@pytest.fixture
def guest(_turn: None, daemon_of: MakeDaemon) -> Guest:
    guest = daemon_of(Guest)
    # A real one would ask the network.
    nix = guest.bin / "nix"
    nix.write_text("#!/bin/sh\necho 'error: there is no network' >&2\nexit 1\n")
    nix.chmod(0o755)
    return guest


def provisioned(guest: Guest, *, workdir: Path) -> str:
    """The jcard of a host that wants four agents: one in the shared folder, two in sandboxes, one elsewhere."""
    return as_written(
        {"type": "native", "name": "reviewer", "harness": "claude-code", "prompt": "Review it."},
        {
            "type": "sandboxed",
            "name": "builder",
            "harness": "claude-code",
            "prompt": "Build it.",
            "workdir": str(workdir),
        },
        {"type": "sandboxed", "name": "packager", "harness": "claude-code", "extra_packages": ["git"]},
        {
            "type": "native",
            "name": "claude-code",
            "harness": "claude-code",
            "prompt": "- a dash, $HOME and `x`",
            "workdir": str(workdir),
            "grace_period": "5s",
            "env": {"LEVEL": "debug"},
        },
        shared=str(guest.shared),
        secrets=SECRETS,
    )


def test_a_guest_is_provisioned_polled_and_shut_down(guest: Guest) -> None:
    guest.start()
    assert guest.poll() == {}

    home = guest.agent_home / "workspace"
    guest.set_config(provisioned(guest, workdir=home))
    assert guest.wait_polled("claude-code", running=True) == {
        "name": "claude-code", "running": True, "session": "claude-code", "restarts": 0, "error": "",
    }  # fmt: skip
    reason = "extra_packages: Nix cannot provide git: there is no network"
    assert guest.wait_polled("packager", running=False)["error"] == reason
    assert str(guest.shared) in guest.wait_polled("reviewer", running=False)["error"]
    assert guest.health()["config"]["valid"]
    assert guest.health()["config"]["warnings"] == []

    for name, value in SECRETS.items():
        guest.inject_secret(name, value)
    guest.wait_for(
        lambda: SECRETS.items() <= guest.seen("claude-code").items(), 20, what="all secrets reached the agent"
    )
    guest.wait_polled("claude-code", running=True)
    if shutil.which("bwrap") is not None:
        guest.wait_polled("builder", running=True)
        guest.wait_for(
            lambda: SECRETS.items() <= guest.seen("builder", sandboxed=True).items(), 20, what="and the sandboxed one"
        )
        # Where the home cannot be mounted, as in /dev/shm, it is in /home.
        assert guest.seen("builder", sandboxed=True)["HOME"] in (str(guest.agent_home), "/home/agent")
    seen = guest.seen("claude-code")
    assert (seen["USER"], seen["LEVEL"], seen["SSL_CERT_FILE"]) == ("agent", "debug", "/etc/ssl/guest.crt")
    launches = (guest.agent_home / "argv.claude-code").read_text().split(f"{home}\n")[1:]
    assert set(launches) == {"-p\n--\n- a dash, $HOME and `x`\n"}
    assert 2 <= len(launches) <= 1 + len(SECRETS)
    pid = guest.agents()["claude-code"]["pid"]
    assert pid is not None
    assert psutil.Process(pid).uids().real == AGENT

    polled = guest.as_user(ADMIN, *GET)
    assert '"claude-code"' in polled.stdout, polled.stderr
    assert "PermissionError" in guest.as_user(AGENT, *GET).stderr
    for text in (guest.log_text(), guest.request("GET", "/v1/agents").body.decode()):
        assert not [name for name, value in SECRETS.items() if value in text]
    assert guest.stop() == 0
    assert not psutil.pid_exists(pid)


@pytest.mark.thorough
@pytest.mark.parametrize("exists", everyday([True], [False, True]), ids=["missing", "covered"])
def test_an_agent_whose_workdir_is_mounted_last_runs_in_the_mount(guest: Guest, exists: bool) -> None:
    if exists:
        guest.shared.mkdir()
    guest.start("-interval=200ms")
    guest.set_config(provisioned(guest, workdir=guest.agent_home))
    guest.wait_polled("reviewer", running=exists)
    for name, value in SECRETS.items():
        guest.inject_secret(name, value)
    guest.wait_for(lambda: SECRETS.items() <= guest.seen("claude-code").items(), 20, what="the secrets were taken")
    guest.mount()

    def runs_there() -> bool:
        pid = guest.agents()["reviewer"]["pid"]
        try:
            return pid is not None and Path(f"/proc/{pid}/cwd").stat().st_dev != guest.folder.stat().st_dev
        except FileNotFoundError:
            # The run in the folder below the mount has just ended.
            return False

    guest.wait_for(runs_there, 10, what="reviewer runs in the mount")
    guest.wait_for(lambda: SECRETS.items() <= guest.seen("reviewer").items(), 10, what="all secrets reached it")
