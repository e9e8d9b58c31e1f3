"""agentd is SIGKILLed at every step of a launch, an exit, a stop, a restart, an adoption and a shutdown."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence

from tests.faults.forked import ForkedDaemon
from tests.faults.points import POINTS
from tests.faults.waits import pause
from tests.faults.world import World

_REACHED = 1.2
"""Seconds in which a point that will be passed is passed: the stubborn agents' grace period is 0.5 s."""
_SHUT_DOWN = 10.0
_FEW, _MANY = 3, 8
"""Agents of a world."""


def populate(world: World) -> None:
    """Declare the agents that a world begins with."""
    for kind, restart in (("plain", "always"), ("plain", "on-failure"), ("stubborn", "always"), ("stubborn", "no")):
        world.add(kind, restart)
    world.write()


def killed_at_a_step(world: World) -> str:
    """Kill agentd at a step of what it is doing, let things happen in its absence, and start another."""
    chance = world.chance
    point = chance.choice(POINTS)
    passes = chance.choice((1, 1, 2)) if point.step in _WAYS else 1
    in_its_absence = chance.random() < 0.3
    touched: set[str] = set()
    daemon = world.daemon
    if len(world.agents) >= _MANY:
        for name in chance.sample(sorted(world.agents), _MANY - _FEW):
            world.remove(name)
        world.write()
        world.converge()
    if point.step == "adoption":
        daemon.kill()
        if in_its_absence:
            operate(world, touched)
        daemon.trigger.arm(point, passes)
        daemon.start(ready=False)
    elif point.step == "shutdown":
        daemon.trigger.arm(point, passes)
        daemon.signal(signal.SIGTERM)
        world.unknown_toll()
    else:
        daemon.trigger.arm(point, passes)
        way = chance.choice(_WAYS[point.step])
        for _ in range(passes):
            operate(world, touched, way, deaf=point.name in _OF_THE_DEAF)
    reached = await_death(world, _REACHED if point.step != "shutdown" else _SHUT_DOWN)
    daemon.kill()
    daemon.trigger.disarm()
    if in_its_absence and point.step not in ("adoption", "shutdown"):
        operate(world, touched)
    daemon.start(ready=False)
    world.converge()
    return point.name if reached else f"{point.name} (not passed: killed anyway)"


def await_death(world: World, patience: float) -> bool:
    """Wait for agentd to die at the step it was armed for, and say whether it did."""
    try:
        assert world.daemon.process is not None
        return world.daemon.process.wait(patience) == -signal.SIGKILL
    except subprocess.TimeoutExpired:
        return False


def start_and_kill(daemon: ForkedDaemon, again: Sequence[float]) -> None:
    """Start agentd; after each of so many seconds it is killed, and another one started."""
    daemon.start(ready=False)
    for seconds in again:
        pause(seconds)
        daemon.kill()
        daemon.start(ready=False)


_WAYS = {
    "launch": ("add", "add", "change"),
    "exit": ("end", "kill"),
    "stop": ("remove", "change", "disable"),
    "restart": ("end", "change"),
}
_ANY = ("add", "change", "end", "kill", "remove", "disable")
_OF_THE_DEAF = frozenset({"stop.terminated", "stop.killing", "stop.killed"})
"""Steps that only a stop of an agent gets to that ignores C-c."""


def operate(world: World, touched: set[str], way: str = "", *, deaf: bool = False) -> None:
    """Change something that makes agentd act, on an agent that nothing was done to in this round."""
    chance = world.chance
    way = way or chance.choice(_ANY)
    status = chance.choice((0, 3, 200))
    kind, restart = (
        chance.choice(("plain", "plain", "stubborn")),
        chance.choice(("always", "always", "on-failure", "no")),
    )
    if len(world.agents) <= _FEW and way in ("remove", "disable"):
        way = "change"
    if len(world.agents) >= _MANY and way == "add":
        way = "change"
    names = [name for name in world.agents if name not in touched]
    if way != "add":
        alive = [name for name in names if world.agents[name].runs]
        names = [name for name in alive if world.agents[name].kind == "stubborn"] if deaf else alive
    if way == "add" or not names:
        touched.add(world.add("stubborn" if deaf else kind, restart).name)
        world.write()
        return
    chosen = chance.choice(names)
    touched.add(chosen)
    match way:
        case "end":
            world.end(chosen, status)
        case "kill":
            world.kill(chosen)
        case "remove":
            world.remove(chosen)
        case "disable":
            world.disable(chosen)
        case _:
            world.change(chosen)
    world.write()
