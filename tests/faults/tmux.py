"""tmux fails: its server dies, agentd's client dies, hangs or is cut short, a launcher dies with a status untold."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil

from tests.faults.kills import operate
from tests.faults.waits import pause
from tests.faults.world import World

_CUT = """#!/usr/bin/env bash
# Stands in for tmux: once, the output of a control client ends after so many bytes.
if [[ " $* " == *" -C "* && -e {cut} ]]; then
	bytes=$(<{cut})
	rm -f {cut}
	exec {tmux} "$@" > >(dd bs=1 count="$bytes" status=none)
fi
exec {tmux} "$@"
"""


def client_of(world: World) -> int | None:
    """The control client of the daemon, if it has one right now."""
    if not world.daemon.running:
        return None
    try:
        children = psutil.Process(world.daemon.pid).children()
        return next((child.pid for child in children if child.name().startswith("tmux")), None)
    except psutil.NoSuchProcess:
        return None


def _client(world: World) -> int:
    found: list[int] = []

    def probe() -> bool:
        client = client_of(world)
        found[:] = [] if client is None else [client]
        return client is not None

    world.await_true(probe, "agentd has a control client")
    return found[0]


def server_killed(world: World) -> str:
    """The tmux server dies, idle or while agentd launches and stops, or while there is no agentd."""
    chance = world.chance
    way = chance.choice(("SIGKILL", "SIGTERM", "kill-server", "while busy", "twice", "in agentd's absence"))
    delay = chance.uniform(0, 0.1)
    touched: set[str] = set()
    server = world.server()
    if way == "in agentd's absence":
        world.daemon.kill()
        world.unknown_toll()
        os.kill(server, signal.SIGKILL)
        world.daemon.start(ready=False)
        world.converge()
        return way
    if way == "while busy":
        for _ in range(2):
            operate(world, touched)
        pause(delay)
    for name in list(world.agents):
        if name in touched:
            # What was under way may have been lost, and tried again.
            world.toll_of(name)
        else:
            world.disturbed(name)
    if way == "kill-server":
        world.daemon.tmux("kill-server", check=False)
    else:
        os.kill(server, signal.SIGTERM if way == "SIGTERM" else signal.SIGKILL)
    if way == "twice":
        world.await_true(lambda: world.daemon.tmux_pid() not in (None, server), "there is another tmux server")
        for name in list(world.agents):
            world.toll_of(name)
        os.kill(world.server(), signal.SIGKILL)
    world.converge()
    return way


def client_killed(world: World) -> str:
    """The control client is killed while agentd acts."""
    delay, touched = world.chance.uniform(0, 0.1), set[str]()
    client = _client(world)
    operate(world, touched)
    pause(delay)
    _signal(client, signal.SIGKILL)
    operate(world, touched)
    world.converge()
    return "SIGKILL"


def client_stopped(world: World) -> str:
    """The control client hangs while agentd acts."""
    touched, client = set[str](), _client(world)
    _signal(client, signal.SIGSTOP)
    operate(world, touched)
    operate(world, touched)
    pause(world.long_stop)
    _signal(client, signal.SIGCONT)
    world.converge()
    return f"SIGSTOP for {world.long_stop:g} s"


def client_cut(world: World) -> str:
    """The control client's output ends in the middle of a block, at the connection or later."""
    chance = world.chance
    cut, stand_in = world.daemon.folder / "cut", world.daemon.bin / "tmux"
    if not stand_in.exists():
        stand_in.write_text(_CUT.format(cut=cut, tmux=shutil.which("tmux")))
        stand_in.chmod(0o755)
    cut.write_text(str(chance.choice((chance.randrange(1, 400), chance.randrange(400, 6000)))))
    client, touched = _client(world), set[str]()
    _signal(client, signal.SIGKILL)
    operate(world, touched)
    operate(world, touched)
    world.converge()
    cut.unlink(missing_ok=True)
    return "cut short"


def launcher_killed(world: World) -> str:
    """A launcher is killed between its agent's end and the record of that, or before its agent's end."""
    chance = world.chance
    plain = [name for name in world.running() if world.agents[name].kind == "plain"]
    if not plain:
        plain = [world.add().name]
        world.write()
        world.converge()
    name, before_the_end, status = chance.choice(plain), chance.random() < 0.3, chance.choice((0, 3))
    mark = world.current(name)
    launcher = psutil.Process(mark.pid).ppid()
    if before_the_end:
        _signal(launcher, signal.SIGKILL)
        world.disturbed(name)
    else:
        # tmux continues what is stopped in its panes, unless it is stopped itself.
        server = world.server()
        _signal(server, signal.SIGSTOP)
        _signal(launcher, signal.SIGSTOP)
        former = world.agents[name]
        world.end(name, status)
        world.agents[name] = former
        world.await_true(lambda: not _runs(mark.pid), "the agent has ended")
        _signal(launcher, signal.SIGKILL)
        _signal(server, signal.SIGCONT)
        world.disturbed(name, (None, None))
    world.converge()
    return "before the end" if before_the_end else "between end and record"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(pid: int, number: int) -> None:
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, number)
