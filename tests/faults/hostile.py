"""Agents that do what they like, and a wall clock that is set a year on or back."""

from __future__ import annotations

from dataclasses import replace

from tests.faults.kills import operate
from tests.faults.world import World

YEAR = 365.25 * 86400
_KINDS = (*("breeder", "closer", "flood", "titles", "stubborn") * 3, "deluge")
"""A deluge, of 100 MB, takes a terminal some seconds."""


def hostile_agents(world: World) -> str:
    """Agents fork, ignore every signal, close their terminal, flood it, or send escape sequences to it."""
    chance = world.chance
    kind, way = chance.choice(_KINDS), chance.choice(("end", "kill", "change", "remove", "disable", "crash"))
    name = world.add(kind, "always").name
    world.write()
    world.converge()
    match way:
        case "end":
            world.end(name, 3)
        case "kill":
            world.kill(name)
        case "change":
            world.change(name)
        case "disable":
            world.disable(name)
        case "crash":
            world.daemon.kill()
            operate(world, {name})
            world.daemon.start(ready=False)
        case _:
            pass  # it is removed below
    world.write()
    world.converge()
    world.remove(name)
    world.write()
    world.converge()
    return f"{kind}, then {way}"


def clock_jumps(world: World) -> str:
    """The wall clock is set a year on or back, also while agentd is away; no back-off and no timeout is lost."""
    chance, daemon, touched = world.chance, world.daemon, set[str]()
    jump, absent = chance.choice((YEAR, -YEAR, 0.0, 3600.0)), chance.random() < 0.4
    patient = world.add("plain", "always")
    touched.add(patient.name)
    world.agents[patient.name] = replace(patient, delay="1h")
    world.write()
    world.converge()
    if absent:
        daemon.kill()
    world.end(patient.name, 3)
    operate(world, touched)
    daemon.trigger.clock_offset = jump
    if absent:
        daemon.start(ready=False)
    operate(world, touched)
    world.converge()
    world.remove(patient.name)
    world.write()
    world.converge()
    return f"{jump / 3600:+.0f} h{' in its absence' if absent else ''}"
