"""agentd is SIGKILLed at every step of launches and exits while more agents are declared than have slots.

Each writes down when it begins and ends, in one file: so its lines say how many ran at once, whatever agentd says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from tests.faults.kills import await_death
from tests.faults.points import POINTS
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World

_PREFIX = "queued"
_FILE = f"{_PREFIX}.toml"
_POINTS = tuple(point for point in POINTS if point.step in ("launch", "exit", "adoption"))
_REACHED = 1.0
_BOUND = 40.0
"""Seconds for all to have run: a pass after an adoption, and each its own time."""
_SCRIPT = """\
trap 'trap "" INT TERM; echo "- $1" >>"$2"; exit 0' INT TERM
echo "+ $1" >>"$2"
sleep "$3"
trap "" INT TERM
echo "- $1" >>"$2"
"""


@dataclass(slots=True)
class Line:
    """Those who wait, and those who have run."""

    world: World
    slots: int
    names: list[str] = field(default_factory=list)
    """Of this round."""
    removed: set[str] = field(default_factory=set)
    lasting: dict[str, float] = field(default_factory=dict)
    """Seconds that each runs."""
    number: int = 0

    @property
    def diary(self) -> Path:
        return self.world.daemon.folder / "diary"

    def declare(self, count: int) -> None:
        """Declare so many more than have slots."""
        self.names = [f"{_PREFIX}{self.number + each}" for each in range(count)]
        self.number += count
        self.lasting = {name: self.world.chance.choice((0.02, 0.1, 0.3)) for name in self.names}
        self.write()

    def write(self) -> None:
        """Declare those who are not removed."""
        commands = {
            name: ["/bin/sh", "-c", _SCRIPT, "sh", name, str(self.diary), str(self.lasting[name])]
            for name in self.names
        }
        agents = [
            f'[[agents]]\nname = "{name}"\nharness = "custom"\nrestart = "no"\ngrace_period = "5s"\n'
            f'workdir = "{self.world.marks_folder}"\n'
            f"command = {json.dumps(command)}\n"
            for name, command in commands.items()
            if name not in self.removed
        ]
        self.world.daemon.write_drop_in(_FILE, "\n".join(agents))

    def lines(self) -> list[tuple[str, str]]:
        text = self.diary.read_text() if self.diary.exists() else ""
        return [(sign, name) for sign, _, name in (line.partition(" ") for line in text.splitlines())]

    def amiss(self) -> Iterator[str]:
        """What must never be."""
        running: set[str] = set()
        begun: set[str] = set()
        for sign, name in self.lines():
            if sign == "-":
                running.discard(name)
                continue
            running.add(name)
            if name in begun:
                yield f"{name} ran twice"
            begun.add(name)
            if len(running) > self.slots:
                yield f"{len(running)} ran at once, there are {self.slots} slots: {', '.join(sorted(running))}"

    def over(self) -> bool:
        """Whether all have run who are still declared."""
        if problems := [*self.amiss()]:
            raise BrokenPromiseError("\n".join((*problems, self.explain())))
        if not self.world.daemon.running:
            # It was started while a process that the last one had just forked still held its lock: so it refused.
            self.world.daemon.start(ready=False)
        ended = {name for sign, name in self.lines() if sign == "-"}
        return ended >= set(self.names) - self.removed

    def explain(self) -> str:
        return f"--- diary\n{self.diary.read_text() if self.diary.exists() else ''}\n{self.world.explain()}"


_LINES: WeakKeyDictionary[World, Line] = WeakKeyDictionary()


def prepare_admission(world: World) -> None:
    """Have a pool of few slots, of which the others need none."""
    slots = world.chance.choice((1, 2, 3))
    _LINES[world] = Line(world, slots)
    world.top = {"pools": [{"name": "narrow", "slots": slots, "agents": [f"{_PREFIX}*"]}]}
    world.foreign = lambda name: name.startswith(_PREFIX)
    world.write()


def killed_while_they_wait(world: World) -> str:
    """Agentd is SIGKILLed, also again and again, while agents wait for slots: no more run at once than there are."""
    chance, daemon, line = world.chance, world.daemon, _LINES[world]
    point, passes = chance.choice(_POINTS), chance.choice((1, 1, 2, 3))
    count, again = line.slots + chance.randrange(1, 5), chance.choice((0, 0, 1, 2))
    removes, in_its_absence = chance.random() < 0.3, chance.random() < 0.5
    pauses = [chance.uniform(0, 0.3) for _ in range(again)]
    if point.step == "adoption":
        line.declare(count)
        pause(chance.choice((0.0, 0.1, 0.3)))
        daemon.kill()
        daemon.trigger.arm(point, 1)
        daemon.start(ready=False)
    else:
        daemon.trigger.arm(point, passes)
        line.declare(count)
    reached = await_death(world, _REACHED)
    if removes and not in_its_absence:
        line.removed.add(chance.choice(line.names))
        line.write()
    daemon.kill()
    daemon.trigger.disarm()
    if removes and in_its_absence:
        line.removed.add(chance.choice(line.names))
        line.write()
    daemon.start(ready=False)
    for seconds in pauses:
        pause(seconds)
        daemon.kill()
        daemon.start(ready=False)
    world.await_true(line.over, "all have run", _BOUND)
    line.names.clear()
    (daemon.drop_ins / _FILE).unlink()
    world.await_true(lambda: _gone(world), "they are declared no more")
    world.converge()
    if problems := [*line.amiss()]:
        raise BrokenPromiseError("\n".join((*problems, line.explain())))
    return f"{point.name}{'' if reached else ' (not passed: killed anyway)'}"


def _gone(world: World) -> bool:
    try:
        return not any(map(world.foreign, world.daemon.agents()))
    except (OSError, AssertionError):
        return False  # it does not answer yet
