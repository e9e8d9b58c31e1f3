"""The packaged units of agentd-fleet under a real systemd: a system's first host, and a user's that joins it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import two_ports
from tests.support.waiting import wait_for
from tests.systemd.conftest import ROOT, UNITS, download
from tests.systemd.machine import Installation, Machine

_PATIENCE = 240.0
USER = "ada"
# Whoever is started while another one runs says so. No lease ends meanwhile: what runs is to be the same process.
JCARD = '''
[[agents]]
name = "member"
harness = "custom"
command = ["sh", "-c", """
exec 9> /mnt/kept/$AGENTD_AGENT.lock
flock --nonblock 9 || echo $AGENTD_AGENT >> /mnt/kept/twice
exec sleep infinity
"""]
workdir = "~"
replicas = 2
'''
LEASE = "10m"
OF_RAY = ("raylet", "gcs_server", "ray::", "ray/_private", "ray start", "agentd-fleet")


@dataclass(frozen=True, slots=True)
class Service:
    """A unit of agentd-fleet, beside the agentd of an installation."""

    agentd: Installation
    unit: str
    host: str
    agentctl: str
    """What it is called there."""

    @property
    def machine(self) -> Machine:
        return self.agentd.machine

    def systemctl(self, verb: str) -> str:
        return self.machine.said(f"{self.agentd.systemctl} {verb} {self.unit}", user=self.agentd.user)

    def main_pid(self) -> int:
        return int(self.systemctl("show --property=MainPID --value"))

    def log(self) -> str:
        journal = self.agentd.journalctl.rpartition("=")[0]
        return self.machine.said(f"{journal}={self.unit} --no-pager --output=cat", user=self.agentd.user)

    def asked(self, command: str) -> Any:  # noqa: ANN401
        """What agentctl answers, or nothing if that fails."""
        done = self.machine.run(f"{self.agentctl} {command} --json", user=self.agentd.user, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_until_it_is_a_host(self, hosts: int) -> None:
        wait_for(
            lambda: [each["state"] for each in self.asked("fleet hosts") or ()] == ["ready"] * hosts,
            _PATIENCE,
            what=f"{self.host} is one of {hosts} hosts",
            explain=self.log,
        )

    def members(self) -> dict[str, int]:
        """Wait until the agent of each host runs; their pids."""
        found: list[Any] = []

        def all_run() -> bool:
            agents = (self.asked("status --fleet") or {"agents": ()})["agents"]
            found[:] = [each for each in agents if each["name"].startswith("member")]
            return len(found) == 2 and all(each["state"] == "running" for each in found)

        wait_for(
            all_run,
            _PATIENCE,
            what="the members run",
            explain=lambda: f"{found}\n{self.asked('fleet status')}\n{self.agentd.log()}\n{self.log()}",
        )
        return {each["name"]: each["pid"] for each in found}

    def processes(self) -> dict[int, str]:
        """What of Ray, and of agentd-fleet, runs for the unit's user; by pid, with the command lines."""
        lines = self.machine.said(f"ps -ww -U {self.agentd.user} -o pid=,args=").splitlines()
        split = (line.strip().split(maxsplit=1) for line in lines)
        return {int(pid): args for pid, args in split if any(word in args for word in OF_RAY)}

    def check_there_is_one(self) -> None:
        """Check that there is one node of Ray, and all of it in the unit."""
        processes = self.processes()
        for program, count in (("raylet/raylet", 1), ("agentd-fleet", 1), ("gcs/gcs_server", self.host == "h1")):
            found = [
                args for args in processes.values() if args.split()[0].endswith(program) or f"bin/{program} " in args
            ]
            assert len(found) == count, (program, processes)
        for pid, args in processes.items():
            groups = self.machine.run(f"cat /proc/{pid}/cgroup", check=False)
            assert f"/{self.unit}.service" in groups.stdout or groups.returncode, args


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with two_ports() as first:
        yield first


@pytest.fixture(scope="module")
def head(service: Installation, wheels: Path, port: int) -> Service:
    """The system's unit of a first host."""
    download("requirements/fleet.txt", wheels)
    unit, machine = "agentd-fleet-head", service.machine
    text = (ROOT / f"packaging/{unit}.service").read_text().replace("/usr/bin/", "/opt/agentd/bin/")
    machine.run(f"""
        /opt/agentd/bin/pip install --quiet 'agentd[fleet]'
        cat > /etc/systemd/system/{unit}.service <<'END'\n{text}\nEND
        echo 'FLEET_IP=127.0.0.1
FLEET_ARGS=--port {port} --lease {LEASE} --name h1 --slots 1' > /etc/default/agentd-fleet
        cat > /root/fleet.toml <<'END'\n{JCARD}\nEND
        systemctl daemon-reload
        systemctl enable --quiet --now {unit}
    """)
    found = Service(service, unit, "h1", "/opt/agentd/bin/agentctl")
    found.wait_until_it_is_a_host(1)
    return found


@pytest.fixture(scope="module")
def joined(head: Service, port: int) -> Service:
    """A user's unit of a host that has joined it, and an agent on each of the two."""
    machine, unit = head.machine, "agentd-fleet"
    machine.run(f"useradd --create-home --shell /bin/bash {USER}; loginctl enable-linger {USER}")
    runtime = f"/run/user/{machine.said(f'id -u {USER}')}"
    wait_for(lambda: machine.run(f"test -S {runtime}/systemd/private", check=False).returncode == 0, _PATIENCE)
    text = (ROOT / f"packaging/{unit}-user.service").read_text()
    machine.run(
        f"""
        mkdir -p ~/.local/bin ~/.config/agentd ~/.config/systemd/user
        ln -s /opt/agentd/bin/agentd /opt/agentd/bin/agentd-fleet ~/.local/bin/
        cp {UNITS.format("/opt/agentd")}/agentd-user.service ~/.config/systemd/user/agentd.service
        echo {shlex.quote(text)} > ~/.config/systemd/user/{unit}.service
        echo 'FLEET_HEAD=127.0.0.1:{port}
FLEET_ARGS=--ip 127.0.0.2 --name h2 --slots 1' > ~/.config/agentd/fleet.env
        echo '[[agents]]
name = "own"
harness = "custom"
command = ["sleep", "infinity"]' > ~/.config/agentd/jcard.toml
        export XDG_RUNTIME_DIR={runtime}
        systemctl --user daemon-reload
        systemctl --user enable --quiet --now agentd {unit}
        """,
        user=USER,
    )
    environment = f"env XDG_RUNTIME_DIR={runtime}"
    agentd = Installation(
        machine,
        f"{runtime}/agentd/agentd.sock",
        USER,
        f"{environment} systemctl --user",
        f"{environment} journalctl --user-unit=agentd",
    )
    found = Service(agentd, unit, "h2", f"{environment} /opt/agentd/bin/agentctl")
    found.wait_until_it_is_a_host(2)
    machine.run(f"{head.agentctl} fleet apply /root/fleet.toml")
    found.members()
    return found


@pytest.mark.parametrize("which", ["h1", "h2"])
@pytest.mark.parametrize(
    "verbs",
    [("restart",), ("stop", "start"), ("kill --kill-whom=main --signal=KILL",), ("kill --signal=KILL",)],
)
def test_a_host_is_back_with_its_agents_and_nothing_runs_twice(
    verbs: tuple[str, ...], which: str, head: Service, joined: Service
) -> None:
    service = head if which == "h1" else joined
    members, former = joined.members(), service.main_pid()
    for verb in verbs:
        service.systemctl(verb)
        if verb == "stop":
            assert service.processes() == {}
            assert service.systemctl("show --property=Result --value") == "success"
    wait_for(lambda: service.main_pid() not in (0, former), _PATIENCE, what="it is started again", explain=service.log)
    for each in (head, joined):
        each.wait_until_it_is_a_host(2)
        assert each.members() == members
        each.check_there_is_one()
    assert not joined.machine.ours("/mnt/kept/twice").exists()
