"""agentd is SIGKILLed at every step from what comes by a trigger to the end of its run, and what it keeps is broken.

Files appear, and deliveries of webhooks wait in the spool as agentd-gateway leaves them. The agent writes down what it
was started for: so that says what had a run, and how often, whatever agentd says.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from agentd.daemon import trigger_watch
from agentd.files.spool import spool
from agentd.model.triggers import Delivery
from agentd.supervise.trigger_spool import FOLDER, delivery_id, written
from tests.faults.kept_files import DAMAGES, HARMLESS, damage, steps
from tests.faults.kills import await_death, start_and_kill
from tests.faults.points import POINTS, Point, Trigger
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World
from tests.support.agents import jcard

_FILE = "triggers.json"
_LEDGER, _WATCH = "agentd.daemon.trigger_ledger", "agentd.daemon.trigger_watch"
_QUEUE = "agentd.supervise.trigger_queue"


def _finds(_folder: object, names: object) -> bool:
    """Whether there is something to remove."""
    return bool(names)


READING_POINTS = (
    Point("triggers.reading", _LEDGER, "TriggerLedger.load", before=True),
    Point("triggers.read", _LEDGER, "TriggerLedger.load"),
    *(point for point in POINTS if point.step == "adoption"),
)
TRIGGER_POINTS = (
    Point("triggers.listed", _WATCH, "list_matching"),
    Point("triggers.spool_read", _WATCH, "read_spool"),
    Point("triggers.offering", _QUEUE, "TriggerQueue.offer", before=True),
    Point("triggers.before_kept", _LEDGER, "TriggerLedger.keep", before=True),
    *steps(_FILE),
    Point("triggers.kept", _LEDGER, "TriggerLedger.keep"),
    Point("triggers.offered", _QUEUE, "TriggerQueue.offer"),
    Point("triggers.removing", _WATCH, "remove_spooled", before=True, when=_finds),
    Point("triggers.removed", _WATCH, "remove_spooled", when=_finds),
    *(point for point in POINTS if point.step in ("launch", "exit")),
    *READING_POINTS,
)

NAME = "taker"
_FILES, _HOOK = "files", "hook"
_SECRET = "HOOK"
_REACHED = 2.0
_EVERY = 0.1
"""Seconds between two looks, five times as many as usual: most of a round is waiting for them."""
_BOUND = 40.0
_AGENT = (
    "name=${2#?}; name=${name%?}; "
    'echo "$name" >>"$3"; '
    'case $name in eaten*) rm -f "$1/$name";; slow*|hook*) sleep 0.3;; esac'
)
"""It takes some of the files away; of some the run takes a moment."""


@dataclass(slots=True)
class Inbox:
    """What came."""

    world: World
    number: int = 0
    exactly: set[str] = field(default_factory=set)
    """What must have its run; of the rest it is not known any more, and it has one or none."""
    hooks: dict[str, Path] = field(default_factory=dict)
    """Where what came by webhooks waits."""

    @property
    def folder(self) -> Path:
        return self.world.daemon.folder / "inbox"

    @property
    def diary(self) -> Path:
        return self.world.daemon.folder / "diary"

    @property
    def file(self) -> Path:
        return self.world.daemon.state / _FILE

    def declare(self) -> None:
        """Declare the agent beside the others."""
        table = {
            "name": NAME,
            "command": ["/bin/sh", "-c", _AGENT, "sh", str(self.folder), "{prompt}", str(self.diary)],
            "prompt": "{{ trigger.name }}",
            "workdir": str(self.world.marks_folder),
        }
        triggers = (
            f'[[triggers]]\nname = "{_FILES}"\nagent = "{NAME}"\nfile = "{self.folder}/*.csv"\n',
            f'[[triggers]]\nname = "{_HOOK}"\nagent = "{NAME}"\nsecret = "{_SECRET}"\ninputs = {{ name = "name" }}\n',
        )
        self.world.daemon.write_jcard("\n".join((self.world.text(), jcard(table), *triggers)))

    def bring(self, kind: str) -> str:
        """Let something come, and give its name."""
        self.number += 1
        name = f"{kind}{self.number}.csv"
        self.exactly.add(name)
        if kind == _HOOK:
            id_ = delivery_id(_HOOK, name)
            self.hooks[name] = self.spool / f"{id_}.json"
            spool(self.spool, id_, written(Delivery(id_, _HOOK, {"name": name}, self.number)))
        else:
            (self.folder / name).write_text("1\n")
        return name

    @property
    def spool(self) -> Path:
        return self.world.daemon.state / FOLDER

    def made(self) -> Counter[str]:
        """How often each had a run."""
        return Counter(self.diary.read_text().split() if self.diary.exists() else ())

    def kept(self) -> str:
        """What stands in the file; there is none, or a whole one."""
        if not self.file.exists():
            return ""
        text = self.file.read_text()
        json.loads(text)
        return text

    def looked(self) -> bool:
        """Whether the folder was looked at, and all that lies there is known: what comes from now on appears."""
        try:
            seen = json.loads(self.file.read_bytes())["seen"].values()
        except (OSError, ValueError, KeyError):
            return False
        return any(each["folder"] == self.folder.stat().st_ino for each in seen)

    def amiss(self) -> Iterator[str]:
        """What must never be."""
        for name, times in self.made().items():
            if times > 1:
                yield f"{name} had {times} runs\n{self.explain()}"

    def over(self) -> bool:
        """Whether all that must have its run had it, and nothing waits for one."""
        if problems := [*self.amiss()]:
            raise BrokenPromiseError("\n".join(problems))
        if not self.world.daemon.running:
            self.world.daemon.start(ready=False)
        return self.made().keys() >= self.exactly and self.idle()

    def idle(self) -> bool:
        """Whether the agent has nothing to do."""
        try:
            shown = self.world.daemon.agents().get(NAME)
        except (OSError, AssertionError):
            return False  # it does not answer yet
        return shown is not None and shown["state"] in ("exited", "queued")

    def explain(self) -> str:
        diary = self.diary.read_text() if self.diary.exists() else ""
        kept = self.file.read_text() if self.file.is_file() else "none"
        missing = sorted(self.exactly - self.made().keys())
        return f"--- without a run: {missing}\n--- diary\n{diary}\n--- {_FILE}\n{kept}\n{self.world.explain()}"


_INBOXES: WeakKeyDictionary[World, Inbox] = WeakKeyDictionary()


def prepare_triggers(world: World) -> None:
    """Declare an agent that is started by what comes."""
    inbox = _INBOXES[world] = Inbox(world)
    inbox.folder.mkdir()
    world.foreign = lambda name: name == NAME
    world.daemon.write_secret(_SECRET, "s1gned-with-th1s")
    inbox.declare()
    world.daemon.before_start = lambda: setattr(trigger_watch, "EVERY", _EVERY)
    world.daemon.trigger = Trigger(TRIGGER_POINTS)
    world.judges.append(inbox.amiss)


def killed_while_something_comes(world: World) -> str:
    """Agentd is SIGKILLed while files and webhooks come, and what it keeps of them broken: none has two runs."""
    chance, daemon, inbox = world.chance, world.daemon, _INBOXES[world]
    point, passes = chance.choice((*TRIGGER_POINTS, *TRIGGER_POINTS[:13])), chance.choice((1, 1, 2, 3))
    how, spooled = (
        chance.choice((*["none"] * 4, *DAMAGES)),
        chance.choice((*["none"] * 4, "half", "removed", "leftover")),
    )
    kinds = [chance.choice(("plain", "eaten", "slow", _HOOK, _HOOK)) for _ in range(chance.choice((1, 2, 3)))]
    again = [chance.uniform(0, 0.7) for _ in range(chance.choice((0, 0, 1, 2)))]
    cut, apart = chance.random(), chance.choice((0.0, 0.0, 2.5 * _EVERY))
    world.await_true(inbox.looked, "the folder was looked at", _BOUND)
    if point in READING_POINTS:
        daemon.kill()
        _bring(inbox, kinds, 0.0)
        daemon.trigger.arm(point, 1)
        daemon.start(ready=False)
    else:
        daemon.trigger.arm(point, passes)
        _bring(inbox, kinds, apart)
    reached = await_death(world, _REACHED)
    daemon.kill()
    daemon.trigger.disarm()
    kept = inbox.kept()
    if not inbox.looked():
        raise BrokenPromiseError(f"{_FILE} has forgotten what was seen\n{inbox.explain()}")
    give_back = damage(inbox.file, how, chance, "v")
    broken = inbox.file.read_bytes() if how == "newer" else None
    if how not in HARMLESS:
        # Of what waits in the spool it is known all the same.
        inbox.exactly = {name for name, path in inbox.hooks.items() if path.exists()}
    _break_spool(inbox, kept if how in HARMLESS else "", spooled, cut)
    waiting = [] if how in HARMLESS else [inbox.bring(_HOOK) for _ in range(2)]
    start_and_kill(daemon, again)
    if waiting:
        world.await_true(lambda: inbox.made()[waiting[0]], "what waited in the spool has its run", _BOUND)
        # While the second one waits, of which nobody may be able to write anything down.
        daemon.kill()
        daemon.start(ready=False)
        _goes_on(world, inbox)
        if broken is not None and inbox.file.read_bytes() != broken:
            raise BrokenPromiseError(f"what a newer agentd wrote was written over\n{inbox.explain()}")
        daemon.kill()
        give_back()
        if broken is not None:
            inbox.file.unlink()
        daemon.start(ready=False)
        world.await_true(inbox.looked, "the folder was looked at once more", _BOUND)
    # One that comes later is none of those that were lost.
    inbox.bring(chance.choice(("plain", _HOOK)))
    world.await_true(inbox.over, "all that came had its run", _BOUND)
    world.converge()
    breaks = "".join(f", {each}" for each in (how, f"spool {spooled}") if not each.endswith("none"))
    return f"{point.name}{'' if reached else ' (not passed: killed anyway)'}{breaks}"


def _bring(inbox: Inbox, kinds: list[str], apart: float) -> None:
    for kind in kinds:
        inbox.bring(kind)
        pause(apart)


def _break_spool(inbox: Inbox, kept: str, how: str, cut: float) -> None:
    """Break what waits in the spool, as a power failure may, or a gateway that was killed.

    Parameters
    ----------
    kept
        What agentd still knows of, by its file.
    """
    for name, path in inbox.hooks.items():
        if how == "leftover":
            path.with_name(f".{path.stem}.new").write_bytes(b'{"v": 1, "id"')
        if not path.exists() or how not in ("half", "removed"):
            continue
        if path.stem not in kept:
            inbox.exactly.discard(name)
        if how == "removed":
            path.unlink()
        else:
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * cut)])


def _goes_on(world: World, inbox: Inbox) -> None:
    """Whatever became of the file: of what comes from now on, each has a run."""
    came: list[str] = []

    def taken() -> bool:
        if any(inbox.made()[name] for name in came):
            return True
        came.append(inbox.bring("plain"))
        # The folder may not have been looked at yet, and then it was there before.
        inbox.exactly.discard(came[-1])
        pause(4 * _EVERY)
        return False

    world.await_true(taken, "it goes on", _BOUND)
    world.await_true(inbox.over, "what waited in the spool had its run", _BOUND)
