"""A daemon whose agents are held to their limits, and what the kernel says of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

import pytest

from agentd.limits.groups import RunGroups
from agentd.model.limits import LIMIT_FIELDS
from agentd.process.cgroups.hierarchies import folders_of, mounts, paths_of
from tests.support.agents import jcard
from tests.support.daemon import Daemon, LimitJson

AGENT = Path(__file__).with_name("limited_agent.py")
MEBIBYTE = 1 << 20


def can_limit(*fields: str) -> bool:
    """Whether agents can be held to these limits here."""
    if os.geteuid() != 0:
        return False
    groups = RunGroups(None)
    return all(groups.foreseen(field)[0] is not None for field in fields)


class EventJson(TypedDict):
    """An event."""

    kind: str
    agent: str | None
    reason: str | None
    data: dict[str, object]


class Limited:
    """A daemon with agents that take orders.

    Parameters
    ----------
    daemon
        Not started yet.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._told: dict[str, int] = {}

    def declare(self, **agents: Mapping[str, object]) -> None:
        """Declare agents by name, each in a workdir of its own."""
        tables = []
        for name, fields in agents.items():
            (self.daemon.workdir / name).mkdir(exist_ok=True)
            command = [sys.executable, "-I", "-S", str(AGENT)]
            tables.append(
                {
                    "name": name,
                    "command": command,
                    "workdir": str(self.daemon.workdir / name),
                    "grace_period": "5s",
                    **fields,
                }
            )
        self.daemon.write_jcard(jcard(*tables))

    def tell(self, name: str, order: str) -> None:
        """Type an order that does not return."""
        self.daemon.type(name, order)
        self._told[name] = self._told.get(name, 0) + 1

    def ask(self, name: str, order: str) -> str:
        """Type an order, and return what came of it."""
        answer = self.daemon.workdir / name / f"said-{self._told.get(name, 0)}"
        self.tell(name, order)
        self.daemon.wait_for(answer.exists, what=f"{name} has followed {order!r}")
        return answer.read_text()

    def began_again(self, name: str) -> None:
        """It is another run, which counts its orders anew."""
        for said in (self.daemon.workdir / name).glob("said-*"):
            said.unlink()
        self._told.pop(name, None)

    def limits(self, name: str) -> Mapping[str, LimitJson]:
        """What the status says of an agent's limits."""
        agent = self.daemon.agent(name)
        assert agent is not None
        assert agent["limits"] is not None
        assert list(agent["limits"]) == list(LIMIT_FIELDS)
        return {field: limit for field, limit in agent["limits"].items() if limit is not None}

    def folders(self, pid: int) -> Mapping[str, Path]:
        """The control groups of a process which are its run's."""
        paths = {name: path for name, path in paths_of(Path(f"/proc/{pid}/cgroup")).items() if "/agentd/" in path}
        return folders_of(mounts(Path("/proc/self/mountinfo")), paths)

    def held(self, pid: int) -> tuple[int, int, int]:
        """Bytes, processes and microseconds of 100 ms that the kernel holds a process to; -1 is no limit."""
        folders = self.folders(pid)
        if "" in folders:
            files = [folders[""] / file for file in ("memory.max", "pids.max", "cpu.max")]
        else:
            files = [
                folders["memory"] / "memory.limit_in_bytes",
                folders["pids"] / "pids.max",
                folders["cpu"] / "cpu.cfs_quota_us",
            ]
        memory, pids, cpu = (file.read_text().replace("max", "-1").split()[0] for file in files)
        return int(memory), int(pids), int(cpu)

    def events(self, agent: str) -> list[EventJson]:
        """What was told of an agent."""
        return cast("list[EventJson]", self.daemon.get(f"/v1/events?agent={agent}"))

    def event(self, agent: str, kind: str) -> EventJson:
        """Wait for the one event of a kind."""
        found: list[EventJson] = []

        def probe() -> bool:
            found[:] = [event for event in self.events(agent) if event["kind"] == kind]
            return bool(found)

        self.daemon.wait_for(probe, what=f"an event {kind} of {agent}")
        [event] = found
        return event

    def running(self, name: str) -> int:
        """Wait until an agent runs; its pid."""
        pid = self.daemon.wait_state(name, "running")["pid"]
        assert pid is not None
        return pid


@pytest.fixture
def limited(daemon: Daemon) -> Limited:
    """A daemon that is not started yet, on a machine that limits memory, processes and CPU time."""
    if not can_limit("memory", "pid_limit", "cpu"):
        pytest.skip("needs root and control groups of version 1, or of version 2 that agentd may write")
    return Limited(daemon)
