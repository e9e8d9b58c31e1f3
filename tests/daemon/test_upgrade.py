"""The installed package is removed or replaced under a running daemon, as by an upgrade."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon
from tests.daemon.support import declare, running, script, stay
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.installed import Installation

_BROKEN = "raise ImportError('half a package')\n"


class InstalledDaemon(Daemon):
    """A daemon whose package is its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.installation = Installation(folder)
        self._address = folder / "notify"
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.settimeout(20)
        self._told.bind(str(self._address))

    def command(self, *arguments: str) -> list[str]:
        return [*self.installation.command(), *super().command(*arguments)[1:]]

    def start_and_wait_until_ready(self) -> float:
        """Start it, and give the monotonic time at which it said that it is ready."""
        self.start(env={"NOTIFY_SOCKET": str(self._address)}, ready=False)
        while self._told.recv(4096) != b"READY=1":
            pass
        moment = time.monotonic()
        self._told.close()
        return moment


def _removed(site: Path) -> None:
    for entry in site.iterdir():
        entry.rename(site.with_name(f"gone-{entry.name}"))


def _replaced_by_another_version(site: Path) -> None:
    for path in site.rglob("*.py"):
        path.unlink()
        path.write_text(_BROKEN)


def _half_replaced(site: Path) -> None:
    for number, path in enumerate(sorted(site.rglob("*.*"))):
        if number % 2 and path.is_file():
            path.unlink()


@pytest.mark.program
@pytest.mark.parametrize("upgrade", [_removed, _replaced_by_another_version, _half_replaced])
def test_a_running_daemon_needs_nothing_of_its_package(daemon_of: MakeDaemon, upgrade: Callable[[Path], None]) -> None:
    daemon = daemon_of(InstalledDaemon)
    repository = _repository(daemon.folder / "repository")
    declare(daemon, script("talker", "echo hello; exec sleep 600"))
    ready = daemon.start_and_wait_until_ready()
    upgrade(daemon.installation.site)
    running(daemon, "talker")

    for route in _routes(daemon):
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

    for text in ("x = [", "[[agents]]\nname = 1\n", "[[agents]]\nharness = 'none'\n", "\ufeff", "a = '\\u0000"):
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


def _routes(daemon: Daemon) -> list[str]:
    document = daemon.get("/v1/openapi.json")
    assert isinstance(document, dict)
    return sorted(document["paths"])


def _repository(folder: Path) -> Path:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    return folder
