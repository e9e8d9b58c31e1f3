"""Nodes beside real agentds, with the Controller's core in the same process: what is cut here is only the talk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.fleet.core import Core
from agentd.fleet.definitions import Wanted, read_wanted
from agentd.fleet.errors import NoAnswerError
from agentd.fleet.folder import FleetFolder, FolderTakenError
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import Book, HostRecord
from agentd.fleet.messages import HostReport, Orders
from agentd.fleet.node import Node
from agentd.harness.registry import load_harnesses
from agentd.settings.context import load_context
from tests.support.daemon import Daemon
from tests.support.waiting import until

TERMS = LeaseTerms(lease=4.0, window=1.0, notice=3.0, margin=3.0)
"""Short, and long enough for a machine on which everything is late by a second or two."""


def marking(folder: Path, name: str, **more: object) -> str:
    """An agent that fails the test if it is started while it runs elsewhere: it makes a folder, and removes it."""
    own = folder / name
    script = f"mkdir {own} || touch {own}-twice; trap 'rmdir {own}; exit' INT TERM; while :; do sleep 0.05; done"
    fields = {"name": name, "harness": "custom", "grace_period": "1s", **more}
    lines = [f"{key} = {value!r}" for key, value in fields.items()]
    return "\n".join(["[[agents]]", *lines, f'command = ["sh", "-c", """{script}"""]', ""])


class Fleet:
    def __init__(self, daemons: dict[str, Daemon]) -> None:
        self.daemons = daemons
        self.core = Core(Book(), lambda _before, _after: None, read("", TERMS), TERMS, time.monotonic())
        self.cut: set[str] = set()
        self.nodes: dict[str, Node] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str) -> None:
        async def ask(report: HostReport) -> Orders | None:
            if name in self.cut:
                raise NoAnswerError("cut off")
            orders = self.core.hear(report, time.monotonic())
            if name in self.cut:
                raise NoAnswerError("cut off")
            return orders

        daemon = self.daemons[name]
        folder = FleetFolder(daemon.drop_ins / "fleet")
        self.nodes[name] = node = Node(HostRecord(name, 10), folder, daemon.api_socket, ask, settle=1.0)
        self.tasks[name] = asyncio.create_task(node.run())

    async def end(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await self.nodes.pop(name).close()

    def apply(self, text: str) -> None:
        self.core.apply(text, "fleet.toml", read(text, TERMS), 0.0, time.monotonic())

    def running(self, name: str) -> set[str]:
        return {agent for agent, shown in self.daemons[name].agents().items() if shown["state"] == "running"}


def read(text: str, terms: LeaseTerms) -> Wanted:
    context = load_context(Path("/etc/fleet.toml"), "root", Path("/root"), load_harnesses().harnesses, Path("/data"))
    return read_wanted(text, "fleet.toml", context, terms)


@pytest.mark.thorough
async def test_agents_are_moved_and_never_run_twice(daemon_factory: Callable[[], Daemon], tmp_path: Path) -> None:
    daemons = {"a": daemon_factory(), "b": daemon_factory()}
    for daemon in daemons.values():
        daemon.start()
    fleet = Fleet(daemons)
    fleet.start("a")
    fleet.start("b")
    try:
        await until(lambda: len(fleet.core.book.hosts) == 2)
        fleet.apply(marking(tmp_path, "x") + marking(tmp_path, "y"))
        await until(lambda: (len(fleet.running("a")), len(fleet.running("b"))) == (1, 1))
        # Drained: stopped here, and only then launched there.
        fleet.core.drain("a", draining=True, now=time.monotonic())
        await until(lambda: fleet.running("b") == {"x", "y"})
        fleet.core.drain("a", draining=False, now=time.monotonic())
        # Cut off: its agents end with the lease, and run elsewhere after that.
        fleet.cut.add("b")
        await until(lambda: fleet.running("a") == {"x", "y"} and not fleet.running("b"))
        # Healed: what came from there stays where it is now.
        fleet.cut.clear()
        await until(lambda: fleet.core.alive("b", time.monotonic()))
        # A Node that is killed and comes back within the lease: nobody notices.
        pids = {agent["pid"] for agent in daemons["a"].agents().values()}
        await fleet.end("a")
        fleet.start("a")
        fleet.apply(marking(tmp_path, "x") + marking(tmp_path, "y") + marking(tmp_path, "z"))
        await until(lambda: fleet.running("b") == {"z"})
        assert {agent["pid"] for agent in daemons["a"].agents().values()} == pids
        fleet.apply("")
        await until(lambda: not fleet.running("a") and not fleet.running("b") and not fleet.core.book.runs)
        assert sorted(tmp_path.iterdir()) == [], "an agent ran twice, or did not end"
    finally:
        for name in [*fleet.nodes]:
            await fleet.end(name)


def test_two_nodes_do_not_write_in_one_folder(tmp_path: Path) -> None:
    folder = FleetFolder(tmp_path)
    with pytest.raises(FolderTakenError, match="another Node"):
        FleetFolder(tmp_path)
    folder.close()
    FleetFolder(tmp_path).close()
