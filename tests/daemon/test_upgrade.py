"""The installed package is removed or replaced under a running daemon, as by an upgrade."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.support import counting, declare, running, runs, script, stay
from tests.daemon.test_adoption import kept
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.installed import WAYS, Installation


class InstalledDaemon(Daemon):
    """A daemon whose package is its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.installation = Installation(folder)
        self._address = folder / "notify"
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.settimeout(30)
        self._told.bind(str(self._address))

    def command(self, *arguments: str) -> list[str]:
        return [*self.installation.command(), *super().command(*arguments)[1:]]

    def start_and_wait_until_ready(self, *arguments: str) -> float:
        """Start it, and give the monotonic time at which it said that it is ready."""
        self.start(*arguments, env={"NOTIFY_SOCKET": str(self._address)}, ready=False)
        while self._told.recv(4096) != b"READY=1":
            pass
        moment = time.monotonic()
        self._told.close()
        return moment


@pytest.mark.program
@pytest.mark.parametrize(
    "way", [way if way == "removed" else pytest.param(way, marks=pytest.mark.thorough) for way in WAYS]
)
def test_a_running_daemon_needs_nothing_of_its_package(daemon_of: MakeDaemon, way: str) -> None:
    daemon = daemon_of(InstalledDaemon)
    repository = _repository(daemon.folder / "repository")
    declare(daemon, script("talker", "echo hello; exec sleep 600"))
    ready = daemon.start_and_wait_until_ready()
    WAYS[way](daemon.installation)
    running(daemon, "talker")

    for route in daemon.routes():
        path = route.replace("{name}", "talker")
        assert daemon.request("GET", path).status == 200, path
        assert daemon.request("HEAD", path).status == 200, path
        assert daemon.request("POST", path).status == 405, path
    for path in ("/v1/agents/talker/log?raw=1", "/v1/agents/talker/screen?format=ansi", "/metrics"):
        assert daemon.request("GET", path).status == 200, path
    for path in ("/nothing", "/v1/agents/nobody", "/v1/agents/%ff", "/v1/agents/b%C3%BCcher/log"):
        assert daemon.request("GET", path).status == 404, path
    assert daemon.request("GET", "/v1/agents/talker/log?tail=x").status == 400
    assert "hello" in json.dumps(daemon.get("/v1/agents/talker/screen?format=json"))

    for text in ("x = [", "[[agents]]\nname = 1\n", "[[agents]]\nharness = 'none'\n", "a = '\\u0000"):
        daemon.write_jcard(text)
        daemon.wait_for(lambda: not daemon.health()["config"]["valid"], what=f"{text!r} is refused")
        assert "import" not in (daemon.health()["config"]["error"] or "").lower()
    running(daemon, "talker")
    (daemon.secrets / "NOT-A-NAME").write_text("x")
    (daemon.secrets / "BYTES").write_bytes(b"\xff")
    daemon.write_jcard(
        jcard(
            script("talker", "echo hello; exec sleep 600"),
            stay("hired", role="reviewer", workdir=str(daemon.folder / "hired")),
            stay("branched", repo=str(repository), isolation="worktree"),
            {"name": "reviewer", "harness": "claude-code", "prompt_file": "missing"},
            script("crashing", "exit 3", restart="always", restart_delay="10ms", max_restarts=2),
            stay("typo", promt="x"),
        )
    )
    running(daemon, "talker", "hired", "branched", "typo")
    assert daemon.wait_state("crashing", "failed")["exit_code"] == 3
    assert (daemon.folder / "hired" / "SOUL.md").read_text()
    assert "promt" in str(daemon.health()["config"]["warnings"])
    daemon.signal(signal.SIGHUP)
    assert daemon.request("GET", "/metrics").status == 200
    assert daemon.stop() == 0
    assert daemon.installation.imported_since(ready) == []


@pytest.mark.program
@pytest.mark.parametrize(
    ("way", "end"),
    [
        pytest.param("removed", "kill", marks=pytest.mark.thorough),
        pytest.param("half replaced", "keep", marks=pytest.mark.thorough),
        ("replaced by another version", "kill"),
    ],
)
def test_a_daemon_of_the_new_package_adopts_what_the_former_left(daemon_of: MakeDaemon, way: str, end: str) -> None:
    daemon = daemon_of(InstalledDaemon)
    again = 'test "$(wc -l <"$0")" -lt 3 && exit 4; exec sleep 600'
    declare(
        daemon,
        stay("plain", timeout="1h"),
        counting("restarted", daemon.folder, again, restart="on-failure"),
        counting("waits", daemon.folder, "exit 5", restart="always", restart_delay="1h", restart_delay_max="1h"),
    )
    daemon.start_and_wait_until_ready("--on-shutdown=keep")
    WAYS[way](daemon.installation)

    def settled() -> bool:
        found = daemon.agents()
        states = {name: agent["state"] for name, agent in found.items()}
        return (
            states == {"plain": "running", "restarted": "running", "waits": "backoff"}
            and found["restarted"]["restarts"] == 2
        )

    daemon.wait_for(settled, 20, what="all agents are where they will stay")
    before = daemon.agents()
    if end == "kill":
        daemon.kill()
    else:
        assert daemon.stop() == 0
    daemon.installation.renew("0.1.99")
    daemon.start()
    daemon.wait_for(settled, 20, what="all agents are there again")
    assert daemon.health()["version"] == "0.1.99"
    assert kept(daemon.agents()) == kept(before)
    assert [len(runs(daemon.folder, name)) for name in ("restarted", "waits")] == [3, 1]


def _repository(folder: Path) -> Path:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    return folder
