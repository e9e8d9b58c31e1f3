"""agentd is SIGKILLed at every step of giving ports and of launching and adopting who has them, and its file is broken.

Each run listens on the ports that its environment gives it, and writes down which they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from agentd.supervise import ports as port_range
from tests.faults.kept_files import DAMAGES, HARMLESS, damage, steps
from tests.faults.kills import await_death, start_and_kill
from tests.faults.oracle import Mark, lives
from tests.faults.points import POINTS, Point, Trigger
from tests.faults.world import BrokenPromiseError, World

_FILE = "ports.json"
_LEDGER = "agentd.daemon.port_ledger"

READING_POINTS = (
    Point("ports.reading", _LEDGER, "PortLedger._read", before=True),
    Point("ports.read", _LEDGER, "PortLedger._read"),
    *(point for point in POINTS if point.step == "adoption"),
)
WRITING_POINTS = (
    Point("ports.giving", _LEDGER, "PortLedger.give", before=True),
    Point("ports.assigned", _LEDGER, "assign"),
    Point("ports.before_written", _LEDGER, "PortLedger._write", before=True),
    *steps(_FILE),
    Point("ports.kept", _LEDGER, "PortLedger._write"),
    Point("ports.given", _LEDGER, "PortLedger.give"),
)
LAUNCH_POINTS = tuple(point for point in POINTS if point.step == "launch")
PORT_POINTS = (*READING_POINTS, *WRITING_POINTS, *LAUNCH_POINTS)

_PREFIX = "port"
_AGENT = Path(__file__).parents[1] / "support/port_agent.py"
_LISTS = (("PORT", "DB_PORT"), ("PORT", "DB_PORT", "WEB_PORT"), ("DB_PORT",))
_NAMES = sorted({variable for variables in _LISTS for variable in variables})
_RANGE = 100
"""So few ports that those that agents would like best are often another's."""
_REACHED = 1.5
_FEW = 3
"""Agents that there are always."""


@dataclass(slots=True)
class Wish:
    """What is declared of one agent."""

    replicas: int = 0
    variables: tuple[str, ...] = _LISTS[0]
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What a run wrote down."""

    name: str
    pid: int
    generation: int
    run_id: str
    ports: Mapping[str, int]
    up: bool
    """Whether it listens on them."""

    def lives(self) -> bool:
        """Whether its process still runs."""
        return lives(Mark("start", self.pid, self.generation, self.run_id, 0.0, None))


@dataclass(slots=True)
class Harbour:
    """Who has which ports."""

    world: World
    wishes: dict[str, Wish] = field(default_factory=dict)
    away: dict[str, Wish] = field(default_factory=dict)
    """Those that are declared no longer."""
    known: dict[tuple[str, str], int] = field(default_factory=dict)
    """The port of each agent's variable, as its runs wrote it down since the file is whole."""
    read: int = 0
    """Lines of the diary that were judged."""
    number: int = 0
    stands: bool = True
    """Whether the file was whole all the time since the last judgement."""

    @property
    def file(self) -> Path:
        return self.world.daemon.state / _FILE

    @property
    def diary(self) -> Path:
        return self.world.daemon.folder / "ports-diary"

    def declare(self, key: str) -> None:
        """Declare an agent, or what has changed of it."""
        wish = self.wishes[key]
        # What is listed no longer may be another one later.
        for agent, variable in list(self.known):
            if agent.partition("-")[0] == key and variable not in wish.variables:
                del self.known[agent, variable]
        command = [sys.executable, "-I", "-S", str(_AGENT), str(self.diary), *_NAMES]
        lines = (
            f'name = "{key}"',
            'harness = "custom"',
            f"command = {json.dumps(command)}",
            f'workdir = "{self.world.marks_folder}"',
            f"ports = {json.dumps(wish.variables)}",
            f'env = {{ GENERATION = "{wish.generation}" }}',
            f"replicas = {wish.replicas}" if wish.replicas else "",
            'restart = "always"\nrestart_delay = "20ms"\nrestart_delay_max = "60ms"\ngrace_period = "5s"',
        )
        self.world.daemon.write_drop_in(f"{key}.toml", "[agent]\n" + "\n".join(lines) + "\n")

    def remove(self, key: str) -> None:
        """Declare an agent no longer."""
        self.away[key] = self.wishes.pop(key)
        (self.world.daemon.drop_ins / f"{key}.toml").unlink()

    def back(self, key: str) -> None:
        """Declare it again."""
        self.wishes[key] = self.away.pop(key)
        self.declare(key)

    def change(self, way: str, key: str) -> None:
        """Change one agent, or declare another."""
        chance, wish = self.world.chance, self.wishes[key]
        match way:
            case "new":
                self.number += 1
                key = f"{_PREFIX}{self.number}"
                self.wishes[key] = Wish(chance.choice((0, 2)))
            case "variables":
                wish.variables = chance.choice([each for each in _LISTS if each != wish.variables])
            case "replicas" if wish.replicas:
                wish.replicas = 3 if wish.replicas == 2 else 2
            case "killed":
                for name in self.names(key):
                    with contextlib.suppress(ProcessLookupError, KeyError):
                        os.kill(self.living()[name].pid, signal.SIGKILL)
                return
            case "again":
                self.remove(key)
                self.back(key)
                return
            case _:
                wish.generation += 1
        self.declare(key)

    def change_while_there_is_none(self, way: str, key: str) -> None:
        """Change an agent, remove it or declare another one again, if there may be a change."""
        if way == "removed":
            if len(self.wishes) > _FEW:
                self.remove(key)
        elif way == "back":
            if self.away:
                self.back(self.world.chance.choice(sorted(self.away)))
        elif way != "none":
            self.change(way, key)

    def names(self, key: str) -> list[str]:
        """The names of an agent's replicas."""
        count = self.wishes[key].replicas
        return [f"{key}-{index}" for index in range(count)] if count else [key]

    def declared(self) -> dict[str, Wish]:
        """Every agent that there is to be."""
        return {name: wish for key, wish in self.wishes.items() for name in self.names(key)}

    def runs(self) -> list[Run]:
        """All runs so far, by whole lines."""
        text = self.diary.read_text() if self.diary.exists() else ""
        return [Run(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def living(self) -> dict[str, Run]:
        """The last run of each agent, where it lives."""
        last = {run.name: run for run in self.runs()}
        return {name: run for name, run in last.items() if run.lives()}

    def judge(self) -> None:
        """Whether all runs since the last judgement had the ports that are their agents' own."""
        runs = self.runs()
        for run in runs[self.read :]:
            for variable, port in run.ports.items():
                mine = (run.name, variable)
                if self.known.setdefault(mine, port) != port:
                    raise BrokenPromiseError(f"{mine} had {self.known[mine]}, and has {port} now\n{self.explain()}")
                others = [each for each, held in self.known.items() if held == port and each != mine]
                if others:
                    raise BrokenPromiseError(f"{mine} and {others} have {port}\n{self.explain()}")
        self.read = len(runs)

    def begin_anew(self) -> None:
        """Take the ports that agents have now for theirs."""
        self.known, self.read, self.stands = {}, len(self.runs()), True
        for name, run in self.living().items():
            for variable, port in run.ports.items():
                if port in self.known.values():
                    raise BrokenPromiseError(f"{name} and another have {port}\n{self.explain()}")
                self.known[name, variable] = port

    def amiss(self) -> Iterator[str]:
        """What is not as it must be."""
        if self.stands:
            self.judge()
        living, declared = self.living(), self.declared()
        try:
            told = self.world.daemon.agents()
        except (OSError, AssertionError, ValueError) as error:
            yield f"the API does not answer: {error!r}"
            return
        shown = {name for name in told if self.world.foreign(name)}
        if not living.keys() == shown == declared.keys():
            yield f"{sorted(living)} live, {sorted(shown)} are shown, {sorted(declared)} are declared"
            return
        for name, wish in declared.items():
            run, shown_ports = living[name], told[name]["ports"]
            if not run.up or run.generation != wish.generation or run.pid != told[name]["pid"]:
                yield f"{name}: {run} lives, its generation is {wish.generation}"
            elif set(run.ports) != set(wish.variables) or run.ports != shown_ports:
                yield f"{name}: {run.ports} are its ports, {shown_ports} shown, {wish.variables} declared"

    def explain(self) -> str:
        diary = self.diary.read_text() if self.diary.exists() else ""
        kept = self.file.read_text() if self.file.is_file() else "none"
        return f"--- diary\n{diary}\n--- {_FILE}\n{kept}\n{self.world.explain()}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Where agentd is killed, and what changes."""

    point: Point
    passes: int
    way: str
    """How the first one changes, at which agentd is killed."""
    first: str
    meanwhile: str
    """How the second one changes, while there is no agentd."""
    second: str


_HARBOURS: WeakKeyDictionary[World, Harbour] = WeakKeyDictionary()


def prepare_ports(world: World) -> None:
    """Declare agents that have ports."""
    harbour = _HARBOURS[world] = Harbour(world)
    world.foreign = lambda name: name.startswith(_PREFIX)
    first = world.chance.randrange(port_range.FIRST, port_range.LAST - _RANGE)

    def few() -> None:
        setattr(port_range, "FIRST", first)  # noqa: B010 (they are final)
        setattr(port_range, "LAST", first + _RANGE)  # noqa: B010

    world.daemon.before_start = few
    world.daemon.trigger = Trigger(PORT_POINTS)
    world.judges.append(harbour.amiss)
    for key, wish in ((f"{_PREFIX}s", Wish(2)), (f"{_PREFIX}x", Wish()), (f"{_PREFIX}y", Wish())):
        harbour.wishes[key] = wish
        harbour.declare(key)


def killed_while_ports_are_given(world: World) -> str:
    """Agentd is SIGKILLed while it gives agents ports, and its file broken: each keeps its own, and none has two."""
    chance, daemon, harbour = world.chance, world.daemon, _HARBOURS[world]
    fault, how = draw(harbour), chance.choice((*["none"] * 4, *DAMAGES))
    again = [chance.uniform(0, 0.5) for _ in range(chance.choice((0, 0, 1, 2)))]
    untouched = {
        name: run.pid
        for name, run in harbour.living().items()
        if name.partition("-")[0] not in (fault.first, fault.second)
    }
    reached = _killed(harbour, fault)
    harbour.change_while_there_is_none(fault.meanwhile, fault.second)
    harbour.judge()
    harbour.stands = how in HARMLESS
    forgotten = daemon.log_text().count("ports_forgotten")
    give_back = damage(harbour.file, how, chance, "v")
    newer = harbour.file.read_bytes() if how == "newer" else None
    start_and_kill(daemon, again)
    world.converge()
    if how in HARMLESS:
        _adopted(harbour, untouched)
    elif how != "removed" and daemon.log_text().count("ports_forgotten") == forgotten:
        raise BrokenPromiseError(f"it is not said that ports were forgotten\n{harbour.explain()}")
    if newer is not None and harbour.file.read_bytes() != newer:
        raise BrokenPromiseError(f"what a newer agentd wrote was written over\n{harbour.explain()}")
    if how in ("unreadable", "newer"):
        daemon.kill()
        give_back()
        harbour.file.unlink(missing_ok=True)
        daemon.start(ready=False)
        world.converge()
    if not harbour.stands:
        harbour.begin_anew()
    did = f"{fault.way}{'' if fault.meanwhile == 'none' else f' and {fault.meanwhile}'}"
    return (
        f"{fault.point.name}{'' if reached else ' (not passed: killed anyway)'}, {did}"
        f"{'' if how == 'none' else f', {how}'}"
    )


def draw(harbour: Harbour) -> Fault:
    """Choose where agentd is killed, and what changes then and later."""
    chance = harbour.world.chance
    points = chance.choice((READING_POINTS[:2], READING_POINTS, WRITING_POINTS, WRITING_POINTS, LAUNCH_POINTS))
    way = chance.choice(("new", "new", "variables", "replicas", "killed" if points is LAUNCH_POINTS else "new"))
    meanwhile = chance.choice(("none", "none", "again", "changed", "killed", "replicas", "removed", "back"))
    first, second = chance.sample(sorted(harbour.wishes), 2)
    return Fault(chance.choice(points), chance.choice((1, 1, 2)), way, first, meanwhile, second)


def _killed(harbour: Harbour, fault: Fault) -> bool:
    daemon = harbour.world.daemon
    if fault.point in READING_POINTS:
        daemon.kill()
        harbour.change(fault.way, fault.first)
        daemon.trigger.arm(fault.point, 1)
        daemon.start(ready=False)
    else:
        daemon.trigger.arm(fault.point, fault.passes)
        harbour.change(fault.way, fault.first)
    reached = await_death(harbour.world, _REACHED)
    daemon.kill()
    daemon.trigger.disarm()
    return reached


def _adopted(harbour: Harbour, untouched: Mapping[str, int]) -> None:
    living = harbour.living()
    if moved := [name for name, pid in untouched.items() if living[name].pid != pid]:
        raise BrokenPromiseError(f"nothing was done to {moved}, which were restarted\n{harbour.explain()}")
