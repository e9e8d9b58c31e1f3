"""The installed package is removed or replaced under a running agentd, at any moment; then another version takes over.

Here agentd is a program of its own with a package of its own, not a fork of the fault runs, which have imported
everything. While it runs nothing may even be looked for in its package.
"""

from __future__ import annotations

import http
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.forked import ForkedDaemon
from tests.faults.kills import operate
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World
from tests.support.daemon import Running, launch_program
from tests.support.installed import WAYS, Installation

_END = 20.0
_LONGEST_PAUSE = 0.05
"""Seconds; a launch, an exit and an edit take less."""
_IN_PLACE = 0.7
_KEEP = "--on-shutdown=keep"
_ERRORS = ("x = [", "[[agents]]\nname = 1\n", "[[agents]]\nharness = 'none'\n", "a = '\\u0000")


class UpgradedDaemon(ForkedDaemon):
    """An agentd whose package is its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keeps = False
        """Whether it leaves the agents alone when it is told to end."""
        self.upgrades = 0
        self.installation = self._installed()

    def fork(self) -> Running:
        """Start the program; it is no fork."""
        argv = [*self.installation.command(), *self.command(*self._arguments)[1:]]
        with self.log.open("ab") as log:
            return launch_program(argv, env=self.environment(**self._env), cwd=self.folder, log=log)

    def upgrade(self, *, in_place: bool, keeps: bool) -> str:
        """Install another version and start it; gives the version."""
        self.upgrades += 1
        version = f"0.1.{self.upgrades}"
        if in_place:
            self.installation.renew(version)
        else:
            self.installation.remove()
            self.installation = self._installed(version)
        self.keeps = keeps
        self.start(*([_KEEP] if keeps else []), ready=False)
        return version

    def _installed(self, version: str | None = None) -> Installation:
        folder = self.folder / f"installed-{self.upgrades}"
        folder.mkdir()
        return Installation(folder, version)


def upgraded(world: World) -> str:
    """Its installed package is removed or replaced, whatever it is doing; then another version takes over."""
    daemon, chance = world.daemon, world.chance
    assert isinstance(daemon, UpgradedDaemon)
    way, in_place, keeps = chance.choice(sorted(WAYS)), chance.random() < _IN_PLACE, chance.random() < 0.5
    doing = [chance.choice((_operates, _operates, _reads, _mistypes)) for _ in range(chance.choice((1, 2, 3)))]
    moment = chance.randrange(len(doing) + 2)
    while_it_ends = moment > len(doing)
    end = "SIGKILL" if not while_it_ends and chance.random() < 0.5 else "keep" if daemon.keeps else "stop"
    settles, in_its_absence = chance.random() < 0.5, chance.random() < 0.3 and end != "stop"
    touched: set[str] = set()
    began = time.monotonic()
    for act in (*doing[:moment], None, *doing[moment:]):
        if act is not None:
            act(world, touched)
            pause(chance.uniform(0, _LONGEST_PAUSE))
        elif not while_it_ends:
            WAYS[way](daemon.installation)
    if settles:
        world.converge()
    _end(world, end, WAYS[way] if while_it_ends else _nothing)
    if late := daemon.installation.imported_since(began):
        raise BrokenPromiseError(f"looked for in the package of a running agentd: {late}")
    if in_its_absence:
        operate(world, touched)
    version = daemon.upgrade(in_place=in_place, keeps=keeps)
    world.converge()
    if (told := daemon.health()["version"]) != version:
        raise BrokenPromiseError(f"agentd {told} runs, expected {version}")
    return f"{way}, {end}{', while it shuts down' if while_it_ends else ''}"


def _nothing(_: Installation) -> None:
    pass


def _end(world: World, end: str, meanwhile: Callable[[Installation], None]) -> None:
    """End agentd, and do something to its package while it ends."""
    daemon = world.daemon
    assert isinstance(daemon, UpgradedDaemon)
    if end == "SIGKILL":
        daemon.kill()
        return
    if end == "stop":
        world.unknown_toll()
    daemon.signal(signal.SIGTERM)
    pause(world.chance.uniform(0, _LONGEST_PAUSE))
    meanwhile(daemon.installation)
    _await_end(world)


def _await_end(world: World) -> None:
    process = world.daemon.process
    assert process is not None
    try:
        status = process.wait(_END)
    except subprocess.TimeoutExpired:
        raise BrokenPromiseError(f"agentd did not end within {_END:g} s of SIGTERM\n{world.explain()}") from None
    if status != 0:
        raise BrokenPromiseError(f"agentd ended with status {status} after SIGTERM, expected 0\n{world.explain()}")


def _operates(world: World, touched: set[str]) -> None:
    """Launches, exits, stops, edits."""
    operate(world, touched)


def _reads(world: World, touched: set[str]) -> None:
    """Every route of the API, for an agent to which nothing was done."""
    left_alone = [name for name in world.running() if name not in touched]
    for route in world.daemon.routes():
        if "{name}" in route and not left_alone:
            continue
        path = route.replace("{name}", left_alone[0] if left_alone else "")
        answer = world.daemon.request("GET", path)
        if answer.status != http.HTTPStatus.OK:
            raise BrokenPromiseError(f"GET {path}: {answer.status} {answer.body!r}\n{world.explain()}")


def _mistypes(world: World, _: set[str]) -> None:
    """A jcard that cannot be read, which is told; then one that can."""
    daemon, text = world.daemon, world.chance.choice(_ERRORS)
    daemon.write_jcard(text)
    world.await_true(lambda: not daemon.health()["config"]["valid"], f"{text!r} is refused")
    error = daemon.health()["config"]["error"] or ""
    if "import" in error.lower() or "module" in error.lower():
        raise BrokenPromiseError(f"{text!r} is refused with {error!r}")
    world.write()
