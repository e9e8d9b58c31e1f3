from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from agentd.cli.service.unit import AGENTD, quoted, unit_text
from tests.cli.support import HEALTH, Client, Finished, MemorySource

SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"$SYSTEMCTL_LOG"
[ "$1" = --user ] && shift
case $1 in
is-system-running) echo "$SYSTEMCTL_STATE" ;;
show) echo "LoadState=loaded"; echo "ActiveState=$SYSTEMCTL_ACTIVE"; echo "MainPID=$SYSTEMCTL_PID" ;;
"$SYSTEMCTL_FAILS") echo "Job failed." >&2; exit 1 ;;
esac
"""
USER = "--user"


@dataclass(frozen=True)
class Service:
    """agentctl with a stand-in for systemctl."""

    client: Client
    units: Path
    log: Path

    def __call__(self, *arguments: str, state: str = "running", **env: str) -> Finished:
        self.log.unlink(missing_ok=True)
        stand_in = {"PATH": f"{self.client.folder}:{os.environ['PATH']}", "SYSTEMCTL_LOG": str(self.log)}
        values = {"SYSTEMCTL_STATE": state, "SYSTEMCTL_ACTIVE": "active", "SYSTEMCTL_PID": "1", "SYSTEMCTL_FAILS": "-"}
        unit_dir = [] if arguments[0] == "status" else [f"--unit-dir={self.units}"]
        return self.client("service", *arguments, *unit_dir, **{**stand_in, **values, **env})

    @property
    def unit(self) -> Path:
        return self.units / "agentd.service"

    def ran(self) -> list[str]:
        """The commands that change something."""
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        return [call for call in calls if "is-system-running" not in call and " show " not in call]


@pytest.fixture
def service(client: Client) -> Service:
    systemctl = client.folder / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    return Service(client, client.folder / "units", client.folder / "log")


def settings_of(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string(text)
    return {section: dict(parser[section]) for section in parser.sections()}


def test_install_writes_enables_and_starts_saying_each_command(service: Service) -> None:
    done = service("install", USER, AGENTD_CONFIG_DIR="/srv/agents")
    assert done.status == 0, done.err
    commands = ["daemon-reload", "enable agentd.service", "restart agentd.service"]
    assert service.ran() == [f"systemctl --user {command}" for command in commands]
    assert [line.removeprefix("$ ") for line in done.out.splitlines() if line.startswith("$")] == service.ran()
    assert f"wrote {service.unit}" in done.out
    unit = settings_of(service.unit.read_text())
    command = shlex.split(unit["Service"]["ExecStart"])
    assert Path(command[0]).name == "agentd"
    assert os.access(command[0], os.X_OK)
    assert f"--api-socket={service.client.api_socket}" in command, "what the environment says is written into the unit"
    assert "--config-dir=/srv/agents" in command
    assert not [word for word in command if word.startswith("--agent-user")], "defaults are not"
    assert command[-1] == "--on-shutdown=keep"
    assert str(service.client.folder) in unit["Service"]["Environment"], "agents find their programs"
    assert unit["Install"]["WantedBy"] == "default.target"
    assert service("install", USER).status == 0, "twice is harmless"


def test_uninstall_removes_it_and_says_that_agents_go_on(service: Service) -> None:
    service("install", USER)
    done = service("uninstall", USER)
    assert done.status == 0
    assert service.ran() == ["systemctl --user disable --now agentd.service", "systemctl --user daemon-reload"]
    assert not service.unit.exists()
    assert f"tmux -S {service.client.tmux_socket} kill-server" in done.out
    assert service("uninstall", USER).status == 1


def test_the_gateway_is_a_service_of_its_own(service: Service) -> None:
    done = service("install", USER, "--gateway", AGENTD_CONFIG_DIR="/srv/agents")
    assert done.status == 0, done.err
    assert service.ran()[1:] == [
        "systemctl --user enable agentd-gateway.service",
        "systemctl --user restart agentd-gateway.service",
    ]
    assert not service.unit.exists(), "agentd's is another one"
    unit = settings_of((service.units / "agentd-gateway.service").read_text())
    command = shlex.split(unit["Service"]["ExecStart"])
    assert Path(command[0]).name == "agentd-gateway"
    assert "--config-dir=/srv/agents" in command
    assert not [word for word in command if word.startswith(("--tmux-socket", "--on-shutdown"))], "it has no such flags"
    assert "journalctl --user -u agentd-gateway" in done.out
    done = service("uninstall", USER, "--gateway")
    assert (done.status, service.ran()[0]) == (0, "systemctl --user disable --now agentd-gateway.service")
    assert "tmux" not in done.out


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_a_dry_run_changes_nothing(service: Service, action: str) -> None:
    done = service(action, "--system", "--dry-run")
    assert done.status == 0
    assert "  systemctl daemon-reload" in done.out
    assert (service.ran(), service.units.exists()) == ([], False)
    document = cast("dict[str, object]", service(action, "--system", "--dry-run", "--json").document)
    assert document["unit"] == str(service.unit)


@pytest.mark.parametrize("state", ["offline", "", "unknown"])
def test_without_systemd_it_says_how_to_run_agentd_instead(service: Service, state: str) -> None:
    for arguments in (["install", USER], ["uninstall", USER], ["status", USER]):
        done = service(*arguments, state=state)
        assert done.status == 1
        assert "no systemd user manager" in done.err
        assert "/agentd --config=" in done.err
    assert not service.units.exists()


def test_a_command_that_fails_is_said_with_the_next_step(service: Service) -> None:
    done = service("install", USER, SYSTEMCTL_FAILS="restart")
    assert done.status == 1
    assert "systemctl --user restart agentd.service failed: Job failed.: see systemctl --user status" in done.err


def test_a_unit_that_somebody_else_wrote_is_left_alone_without_force(service: Service) -> None:
    service.units.mkdir()
    service.unit.write_text("[Unit]\n")
    assert service("install", USER).status == 1
    assert service.unit.read_text() == "[Unit]\n"
    assert service("install", USER, "--force").status == 0
    assert "ExecStart" in service.unit.read_text()


def test_an_agentd_that_systemd_did_not_start_is_in_the_way(service: Service, source: MemorySource) -> None:
    assert source.statuses
    done = service("install", USER)
    assert done.status == 1
    assert f"an agentd (pid {HEALTH.pid}) that systemd did not start" in done.err
    assert service("install", USER, SYSTEMCTL_PID=str(HEALTH.pid)).status == 0


def test_status_is_what_systemd_knows(service: Service) -> None:
    assert ["ActiveState", "active"] in service("status", USER).rows
    done = service("status", USER, "--json", SYSTEMCTL_ACTIVE="failed")
    assert done.status == 1
    assert cast("dict[str, str]", done.document)["ActiveState"] == "failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_a_service_of_the_system_takes_root(service: Service) -> None:
    assert "needs root" in service("install", "--system").err


def test_the_user_unit_has_nothing_of_the_system() -> None:
    system = settings_of(unit_text(AGENTD, ["/x/agentd"], user=False, environment={}))
    user = settings_of(unit_text(AGENTD, ["/x/agentd"], user=True, environment={}))
    assert system["Install"]["WantedBy"] == "multi-user.target"
    assert user["Install"]["WantedBy"] == "default.target"
    # A user's systemd has no capabilities to take away, and fails to start a service that asks for it.
    assert {"CapabilityBoundingSet", "ProtectSystem"} <= set(system["Service"]) - set(user["Service"])
    assert not set(user["Service"]) - set(system["Service"])
    assert set(user["Unit"]) == {"Description", "StartLimitIntervalSec"}
    assert user["Service"]["KillMode"] == "process"


@pytest.mark.parametrize(
    ("word", "expected"),
    [("/a/b", "/a/b"), ("a b", '"a b"'), ("50%", '"50%%"'), ("$x", '"$$x"'), ('"\\', '"\\"\\\\"'), ("", '""')],
)
def test_words_are_quoted_for_systemd(word: str, expected: str) -> None:
    assert quoted(word) == expected


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("user", [True, False])
def test_systemd_has_nothing_to_say_about_the_unit(short_folder: Path, user: bool) -> None:
    text = unit_text(
        AGENTD,
        ["/bin/true", "--config=/a b/50%/$x'y", "--on-shutdown=keep"],
        user=user,
        environment={"PATH": "/a b:/c$d%e"},
    )
    path = short_folder / "agentd.service"
    path.write_text(text)
    scope = ["--user"] if user else []
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", path],
        env={**os.environ, "XDG_RUNTIME_DIR": str(short_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
