"""agentctl is SIGKILLed at every step of an edit of the jcard, while others edit it too."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import SIGKILL
from typing import Any

from agentd.cli.agentctl import edit_command as _imported_before_the_fork  # noqa: F401
from agentd.cli.agentctl import entry
from tests.faults.forked import ForkedProcess
from tests.faults.points import Point, Trigger
from tests.faults.world import BrokenPromiseError, World

_EDIT, _REPLACING = "agentd.jcard.edit.file", "agentd.files.replacing"
_LOCKS = "agentd.files.locks"

_DONE = "replaced"
POINTS = (
    Point("read", _EDIT, "_Attempt.read"),
    Point("locked", _LOCKS, "_open_locked", answered=True),
    Point("writing", _REPLACING, "Replacement._dress", before=True),
    Point("written", _REPLACING, "Replacement.__init__"),
    Point("replacing", _REPLACING, "Replacement.take_place", before=True),
    Point(_DONE, _REPLACING, "Replacement.take_place"),
)
_PATIENCE = 20.0
"""Seconds; an editor waits up to 10 s for the others."""
_FEWEST = 4
_COMMANDS = ("set", "set", "set", "stop", "remove")


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of one agent by one agentctl."""

    command: str
    name: str
    process: ForkedProcess
    point: Point | None
    """Where it is killed, if it is."""


def killed_while_editing(world: World) -> str:
    """Several agentctl edit at once, some are killed: each edit is there wholly or not at all."""
    chance = world.chance
    while len(world.agents) < _FEWEST:
        world.add("plain")
    for name in [name for name, agent in world.agents.items() if not agent.enabled]:
        world.change(name)
    world.write()
    world.converge()
    names = chance.sample(sorted(world.agents), chance.choice((1, 2, 3)))
    edits = [_begin(world, name, chance.choice(_COMMANDS), chance.choice((None, *POINTS))) for name in names]
    for edit in edits:
        _await_end(world, edit)
        _count(world, edit)
    _require_as_counted(world)
    # Whatever stands there from an edit that was cut off does not hinder the next, and goes with it.
    enabled = sorted(name for name, agent in world.agents.items() if agent.enabled)
    last = _begin(world, chance.choice(enabled), "set", None)
    _await_end(world, last)
    _count(world, last)
    _require_as_counted(world)
    left = sorted(path.name for path in world.daemon.folder.glob(f".{world.daemon.jcard.name}*"))
    if left:
        raise BrokenPromiseError(f"left beside the jcard: {left}")
    world.converge()
    return f"{len(edits)} at once, {sum(edit.point is not None for edit in edits)} killed"


def _begin(world: World, name: str, command: str, point: Point | None) -> Edit:
    trigger = Trigger(POINTS)
    if point is not None:
        trigger.arm(point, 1)
    daemon = world.daemon
    argv = [command, name, f"--config={daemon.jcard}", f"--api-socket={daemon.api_socket}"]
    if command == "set":
        argv.append(f"env.GENERATION={world.agents[name].generation + 1}")
    process = daemon.fork_program(entry.main, argv, daemon.environment(), trigger, daemon.log)
    return Edit(command, name, process, point)


def _await_end(world: World, edit: Edit) -> None:
    status = edit.process.wait(_PATIENCE)
    expected = 0 if edit.point is None else -SIGKILL
    if status != expected:
        raise BrokenPromiseError(
            f"agentctl {edit.command} {edit.name} ended with {status}, expected {expected}\n{world.explain()}"
        )


def _count(world: World, edit: Edit) -> None:
    """Have the model follow an edit that took place."""
    if edit.point is not None and edit.point.name != _DONE:
        return
    match edit.command:
        case "set":
            world.change(edit.name)
        case "stop":
            world.disable(edit.name)
        case _:
            world.remove(edit.name)


def _require_as_counted(world: World) -> None:
    """Hold the file against the model.

    Raises
    ------
    BrokenPromiseError
        If it is not whole, or an edit is missing, or one is there that did not take place.
    """
    text = world.daemon.jcard.read_text()
    try:
        found = _essence(tomllib.loads(text)["agents"])
    except tomllib.TOMLDecodeError as error:
        raise BrokenPromiseError(f"the jcard is damaged: {error}\n{text}") from None
    expected = _essence(agent.table(world.marks_folder) for agent in world.agents.values())
    if found != expected:
        raise BrokenPromiseError(f"the jcard has {json.dumps(found)}, expected {json.dumps(expected)}")


def _essence(tables: Iterable[Mapping[str, Any]]) -> dict[str, tuple[bool, str]]:
    """What edits change, by agent."""
    return {table["name"]: (table.get("enabled", True), table["env"]["GENERATION"]) for table in tables}
