"""A fleet of three hosts on Ray: each has an agentd, a node of Ray, an address on loopback and folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentd.fleet.ray_node import ray_environment
from agentd.settings.sockets import fleet_socket
from tests.support.daemon import Daemon, UnixConnection, program
from tests.support.ray_nodes import free_port, needs_ray
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(280), needs_ray]

_PATIENCE = 120.0
_LEASE = "10s"
"""Ray takes some seconds to start a Controller anew, which must fit in."""


class Host:
    """One of the three."""

    def __init__(self, name: str, ip: str, daemon: Daemon) -> None:
        self.name, self.ip, self.daemon = name, ip, daemon
        self.log = daemon.folder / "fleet.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.more: Mapping[str, str] = {}
        """Variables of its agentd-fleet."""

    def start(self, *arguments: str) -> None:
        places = {name: value for name, value in self.daemon.places.items() if name != "AGENTD_STATE_DIR"}
        environment = {**self.daemon.environment(), **places, **self.more}
        # Sockets of Ray below it: a short one.
        state = self.daemon.folder / "s"
        command = [
            *(program("agentd-fleet"), *arguments, "--name", self.name, "--ip", self.ip, "--slots", "40"),
            *("--state-dir", str(state)),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=ray_environment(environment), stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self) -> None:
        wait_for(lambda: "is a host of the fleet" in self.log.read_text(), _PATIENCE, explain=self.log.read_text)

    @property
    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def each(self, do: Callable[[psutil.Process], None]) -> list[psutil.Process]:
        everyone = self.processes
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                do(process)
        return everyone

    def kill(self) -> None:
        """SIGKILL all but agentd and its agents: a host that is cut off, and has to find back."""
        self.each(psutil.Process.suspend)
        psutil.wait_procs(self.each(psutil.Process.kill), timeout=10)
        if self.process is not None:
            self.process.wait(10)

    def stop(self) -> None:
        everyone = self.processes
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(25)
        for process in psutil.wait_procs(everyone, timeout=5)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        connection = UnixConnection(fleet_socket(self.daemon.api_socket), timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, text
            return json.loads(text)

    def agentctl(self, *arguments: str) -> str:
        environment = {**self.daemon.environment(), **self.daemon.places}
        command = [program("agentctl"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self) -> bool:
        with contextlib.suppress(AssertionError):
            return bool(self.ask("GET", "/v1/fleet"))
        return False

    def running(self) -> dict[str, int]:
        agents = self.daemon.agents()
        return {name: shown["pid"] or 0 for name, shown in agents.items() if shown["state"] == "running"}


@pytest.fixture
def hosts(daemon_factory: Callable[[], Daemon]) -> Iterator[list[Host]]:
    port = free_port()
    made = [Host(name, f"127.0.0.{number}", daemon_factory()) for number, name in enumerate(("one", "two", "three"), 1)]
    try:
        for host in made:
            host.daemon.start()
        made[0].start("head", "--port", str(port), "--lease", _LEASE)
        made[0].wait_ready()
        for host in made[1:]:
            host.start("join", f"127.0.0.1:{port}")
        for host in made[1:]:
            host.wait_ready()
        wait_for(lambda: len(made[0].ask("GET", "/v1/fleet/hosts")) == 3, _PATIENCE)
        yield made
    finally:
        for host in reversed(made):
            host.stop()


def jcard(marks: Path, replicas: int) -> str:
    """Agents that leave a mark each if they are started while they run elsewhere."""
    own = f"{marks}/$AGENTD_AGENT"
    end = f"trap 'rmdir {own}; kill $!; exit' INT TERM"
    script = f"mkdir {own} || touch {own}-twice; {end}; while :; do sleep 60 & wait; done"
    return f"""
[agent]
name = "w"
harness = "custom"
grace_period = "2s"
replicas = {replicas}
command = ["sh", "-c", '''{script}''']
""".replace("'''", '"""')


def apply_as_people_do(host: Host, file: Path, text: str) -> None:
    file.write_text(text)
    assert "w-59" in host.agentctl("fleet", "plan", str(file))
    host.agentctl("fleet", "apply", str(file))


def ask_as_people_do(hosts: list[Host]) -> None:
    """From any host."""
    one, two, three = hosts
    assert {each["host"] for each in json.loads(two.agentctl("list", "--fleet", "--json"))} == {"one", "two", "three"}
    assert all(host.name in two.agentctl("fleet", "hosts") for host in hosts)
    assert "w-59\tplaced" in three.agentctl("fleet", "status")
    one.agentctl("screen", "--fleet", next(iter(three.running())))


def test_a_fleet_of_three_hosts(hosts: list[Host], tmp_path: Path) -> None:
    one, two, three = hosts
    marks = tmp_path / "marks"
    marks.mkdir()

    def apply(replicas: int) -> None:
        two.ask("POST", "/v1/fleet/apply", {"jcard": jcard(marks, replicas), "path": "fleet.toml"})

    def spread(*wanted: int) -> bool:
        return tuple(len(host.running()) for host in hosts) == wanted

    def explain() -> str:
        return f"{[len(host.running()) for host in hosts]} {one.ask('GET', '/v1/fleet/hosts')}"

    def wait_spread(*wanted: int) -> None:
        wait_for(lambda: spread(*wanted), _PATIENCE, what=str(wanted), explain=explain)
        assert not list(marks.glob("*-twice")), "an agent ran on two hosts"

    apply(6)
    wait_spread(2, 2, 2)
    first = {**one.running(), **two.running(), **three.running()}
    apply(60)
    wait_spread(20, 20, 20)
    now = {**one.running(), **two.running(), **three.running()}
    assert first.items() < now.items(), "those that ran go on"
    assert {each["host"] for each in three.ask("GET", "/v1/agents")} == {"one", "two", "three"}
    assert three.ask("GET", "/v1/agents/w-0")["name"] == "w-0"

    ask_as_people_do(hosts)
    apply_as_people_do(two, tmp_path / "nine.toml", jcard(marks, 9))
    wait_for(lambda: sum(len(host.running()) for host in hosts) == 9, _PATIENCE, explain=explain)
    one.ask("POST", "/v1/fleet/drain", {"host": "three"})
    wait_for(
        lambda: not three.running() and sum(len(host.running()) for host in hosts) == 9, _PATIENCE, explain=explain
    )
    one.ask("POST", "/v1/fleet/uncordon", {"host": "three"})
    assert not list(marks.glob("*-twice")), "an agent ran on two hosts"

    # The Controller is killed, and comes back from its ledger: nobody notices.
    before = {**one.running(), **two.running()}
    [controller] = [each for each in one.processes if each.cmdline()[:1] == ["ray::ControllerActor"]]
    controller.kill()
    wait_for(lambda: not controller.is_running(), _PATIENCE)
    wait_for(two.answers, _PATIENCE)
    apply(10)
    wait_for(lambda: len(three.running()) == 1, _PATIENCE, explain=explain)
    assert before == {**one.running(), **two.running()}

    # A host is cut off: all that it has of Ray stands still, agentd ends its agents by itself.
    two.each(psutil.Process.suspend)
    wait_for(lambda: not two.running(), _PATIENCE)
    wait_for(lambda: len(one.running()) + len(three.running()) == 10, _PATIENCE, explain=explain)
    assert not list(marks.glob("*-twice")), "an agent ran on two hosts"
    # It comes back: as after a reboot, its processes are new ones.
    two.kill()
    port = (
        one.process
        and next(part for part in one.processes[1].cmdline() if part.startswith("--port=")).partition("=")[2]
    )
    two.log.write_text("")
    two.start("join", f"127.0.0.1:{port}")
    two.wait_ready()
    apply(30)
    wait_spread(10, 10, 10)
    apply(0)
    wait_spread(0, 0, 0)
    assert list(marks.iterdir()) == []
    assert os.listdir(two.daemon.drop_ins / "fleet") == [".lock"]  # noqa: PTH208
