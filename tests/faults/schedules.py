"""agentd is SIGKILLed at every step from a due start to its end, and its file of how far schedules have come is broken.

Each agent is to be started at one second of the year, or once by hand, and writes down that it was: so the file says
how often, whatever agentd says.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from tests.faults.kept_files import DAMAGES, HARMLESS, damage, steps
from tests.faults.kills import await_death, start_and_kill
from tests.faults.points import POINTS, Point, Trigger
from tests.faults.world import BrokenPromiseError, World

_FILE = "schedules.json"
_LEDGER = "agentd.daemon.schedule_ledger"

SCHEDULE_POINTS = (
    Point("schedules.before_kept", _LEDGER, "ScheduleLedger.keep", before=True),
    *steps(_FILE),
    Point("schedules.kept", _LEDGER, "ScheduleLedger.keep"),
    Point("schedules.read", _LEDGER, "ScheduleLedger.load"),
    *(point for point in POINTS if point.step in ("launch", "exit", "adoption")),
)

_PREFIX = "tick"
_DROP_IN = f"{_PREFIX}.toml"
_SOON = 2
"""Seconds until the start: until then it is written down that it is to be."""
_REACHED = 4.0
_BOUND = 40.0


@dataclass(slots=True)
class Clock:
    """Who is started when."""

    world: World
    number: int = 0
    exactly: bool = True
    """Whether the start must have been made; else it may be left out, since nobody knows of it any more."""
    names: set[str] = field(default_factory=set)
    """Of this round."""

    @property
    def name(self) -> str:
        return f"{_PREFIX}{self.number}"

    @property
    def diary(self) -> Path:
        return self.world.daemon.folder / "diary"

    @property
    def file(self) -> Path:
        return self.world.daemon.state / _FILE

    def declare(self, schedule: str, asked: str = "") -> None:
        """Declare the agent of this round."""
        command = ["/bin/sh", "-c", 'echo "$1" >>"$2"', "sh", self.name, str(self.diary)]
        lines = (
            f'name = "{self.name}"',
            'harness = "custom"',
            f"command = {json.dumps(command)}",
            f'workdir = "{self.world.marks_folder}"',
            f'schedule = "{schedule}"',
            'time_zone = "UTC"',
            'catch_up = "10m"',
            f'restarted_at = "{asked}"' if asked else "",
        )
        self.world.daemon.write_drop_in(_DROP_IN, "[agent]\n" + "\n".join(lines) + "\n")

    def made(self) -> Counter[str]:
        """How often each was started."""
        return Counter(self.diary.read_text().split() if self.diary.exists() else ())

    def kept(self) -> bool:
        """Whether the file has the agent of this round; there is none, or a whole one."""
        return self.file.exists() and self.name in json.loads(self.file.read_bytes())["agents"]

    def amiss(self) -> Iterator[str]:
        """What must never be."""
        for name, times in self.made().items():
            if times > 1:
                yield f"{name} was started {times} times for one start\n{self.explain()}"

    def over(self) -> bool:
        """Whether the start was made, or nobody waits for it any more."""
        if problems := [*self.amiss()]:
            raise BrokenPromiseError("\n".join(problems))
        if not self.world.daemon.running:
            self.world.daemon.start(ready=False)
        try:
            shown = self.world.daemon.agents().get(self.name)
        except (OSError, AssertionError):
            return False  # it does not answer yet
        if shown is None or shown["state"] not in ("exited", "queued") or shown["next_start_at"] is None:
            return False
        # Of next year.
        passed = shown["next_start_at"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        return passed and (self.made()[self.name] == 1 or not self.exactly)

    def explain(self) -> str:
        diary = self.diary.read_text() if self.diary.exists() else ""
        kept = self.file.read_text() if self.file.is_file() else "none"
        return f"--- diary\n{diary}\n--- {_FILE}\n{kept}\n{self.world.explain()}"


_CLOCKS: WeakKeyDictionary[World, Clock] = WeakKeyDictionary()


def prepare_schedules(world: World) -> None:
    """Note whose the agents are that start by the clock."""
    clock = _CLOCKS[world] = Clock(world)
    world.foreign = lambda name: name.startswith(_PREFIX)
    world.daemon.trigger = Trigger(SCHEDULE_POINTS)
    world.judges.append(clock.amiss)


def killed_at_a_due_start(world: World) -> str:
    """Agentd is SIGKILLed around a start by the clock or by hand, and its file broken: no start is made twice."""
    chance, daemon, clock = world.chance, world.daemon, _CLOCKS[world]
    point, passes = chance.choice(SCHEDULE_POINTS), chance.choice((1, 1, 2))
    how, by_hand = chance.choice((*["none"] * 4, *DAMAGES)), chance.random() < 0.3
    again = [chance.uniform(0, 0.5) for _ in range(chance.choice((0, 0, 1, 2)))]
    clock.number += 1
    clock.exactly = how in HARMLESS
    at = time.gmtime(time.time() + _SOON)
    # By hand, the time is half a year away.
    month = (at.tm_mon + 5) % 12 + 1 if by_hand else at.tm_mon
    schedule = f"{at.tm_sec} {at.tm_min} {at.tm_hour} {min(at.tm_mday, 28) if by_hand else at.tm_mday} {month} *"
    clock.declare(schedule)
    world.await_true(clock.kept, "it is written down that it is to be started")
    if point.step == "adoption" or point.name == "schedules.read":
        daemon.kill()
        daemon.trigger.arm(point, 1)
        if by_hand:
            clock.declare(schedule, "2026-01-01T00:00:00Z")
        daemon.start(ready=False)
    else:
        daemon.trigger.arm(point, passes)
        if by_hand:
            clock.declare(schedule, "2026-01-01T00:00:00Z")
    reached = await_death(world, _REACHED)
    daemon.kill()
    daemon.trigger.disarm()
    if not clock.kept():
        raise BrokenPromiseError(f"{_FILE} has forgotten {clock.name}\n{clock.explain()}")
    give_back = damage(clock.file, how, chance, "v")
    newer = clock.file.read_bytes() if how == "newer" else None
    start_and_kill(daemon, again)
    world.await_true(clock.over, f"{clock.name} was started once", _BOUND)
    if newer is not None:
        if clock.file.read_bytes() != newer:
            raise BrokenPromiseError(f"what a newer agentd wrote was written over\n{clock.explain()}")
        daemon.kill()
        clock.file.unlink()
        daemon.start(ready=False)
    give_back()
    (daemon.drop_ins / _DROP_IN).unlink()
    world.await_true(lambda: _gone(world), "it is declared no more")
    world.converge()
    return f"{point.name}{'' if reached else ' (not passed: killed anyway)'}{'' if how == 'none' else f', {how}'}"


def _gone(world: World) -> bool:
    try:
        return not any(map(world.foreign, world.daemon.agents()))
    except (OSError, AssertionError):
        return False  # it does not answer yet
