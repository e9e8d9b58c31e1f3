"""A fleet of three hosts on Ray: each has an agentd, a node of Ray, an address on loopback and folders of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.processes import called
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(500), needs_ray]

_PATIENCE = 120.0
_LEASE = "10s"
"""Ray takes some seconds to start a Controller anew, which must fit in."""


@pytest.fixture
def hosts(daemon_factory: Callable[[], Daemon], port: int) -> Iterator[list[Host]]:
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
        wait_for(lambda: len(made[0].fleet_hosts()) == 3, _PATIENCE, explain=made[0].log.read_text)
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


def refuse_a_name_that_is_taken(daemon: Daemon, port: int) -> None:
    daemon.start()
    fourth = Host("two", "127.0.0.4", daemon)

    def refused() -> bool:
        """Start it once more, as its service does: on a busy machine Ray gives up at times."""
        try:
            fourth.start("join", f"127.0.0.1:{port}")
            assert fourth.process is not None
            assert fourth.process.wait(_PATIENCE) == 1
        finally:
            fourth.stop()
        said = "there is a host two already, at 127.0.0.2: give this one another --name"
        return said in fourth.log.read_text()

    wait_for(refused, _PATIENCE, explain=fourth.log.read_text)


def test_a_fleet_of_three_hosts(
    hosts: list[Host], daemon_factory: Callable[[], Daemon], port: int, tmp_path: Path
) -> None:
    one, two, three = hosts
    marks = tmp_path / "marks"
    marks.mkdir()

    def apply(replicas: int) -> None:
        two.ask("POST", "/v1/fleet/apply", {"jcard": jcard(marks, replicas), "path": "fleet.toml"})

    def spread(*wanted: int) -> bool:
        return tuple(len(host.running()) for host in hosts) == wanted

    def explain() -> str:
        return f"{[len(host.running()) for host in hosts]} {one.fleet_hosts()}"

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

    refuse_a_name_that_is_taken(daemon_factory(), port)
    wait_spread(20, 20, 20)
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
    # While it answers, the method stands behind its name; others of Ray's come and go.
    [controller] = called(one.processes, "ray::ControllerActor")
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
    two.log.write_text("")
    two.start("join", f"127.0.0.1:{port}")
    two.wait_ready()
    apply(30)
    wait_spread(10, 10, 10)
    apply(0)
    wait_spread(0, 0, 0)
    assert list(marks.iterdir()) == []
    assert os.listdir(two.daemon.drop_ins / "fleet") == [".lock"]  # noqa: PTH208
