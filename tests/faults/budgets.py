"""agentd is SIGKILLed at every step of counting what an agent costs, and the file with what was used is broken.

The agent costs what is typed at its terminal, and writes down which lines it took. What stood in the file when agentd
was killed has to be known to the next one, and what was used up stays used up.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from weakref import WeakKeyDictionary

from tests.faults.kept_files import DAMAGES, HARMLESS, damage, steps
from tests.faults.kills import await_death, start_and_kill
from tests.faults.messages import Talk
from tests.faults.points import Point, Trigger
from tests.faults.waits import pause
from tests.faults.world import BrokenPromiseError, World

_FILE = "budgets.json"
_BOOK, _LEDGER = "agentd.turns.budgets.book", "agentd.turns.budgets.ledger"

READING_POINTS = (
    Point("budgets.reading", _LEDGER, "Ledger.read", before=True),
    Point("budgets.read", _LEDGER, "Ledger.read"),
    Point("budgets.run_known", _BOOK, "Budgets.started", before=True),
)
BUDGET_POINTS = (
    Point("budgets.happened", _BOOK, "Budgets.happened", before=True),
    Point("budgets.counted", _BOOK, "Budgets.happened"),
    Point("budgets.told", _BOOK, "Budgets._tell"),
    Point("budgets.before_written", _LEDGER, "Ledger.write", before=True),
    *steps(_FILE),
    Point("budgets.kept", _LEDGER, "Ledger.write"),
    *READING_POINTS,
)

NAME = "spender"
_AGENT = Path(__file__).parents[1] / "support/spending_agent.py"
_REACHED = 1.5
_BOUND = 40.0
_WRITTEN = 1.2
"""Seconds in which what has changed is written down."""
_COST, _ROOM, _AMPLE = Decimal(1), Decimal("0.5"), Decimal(1000)
"""Dollars: of a turn, of what a budget leaves, so that one turn goes beyond it, and of one that nobody uses up."""


@dataclass(slots=True)
class Purse:
    """What was spent."""

    world: World
    talk: Talk
    limit: Decimal = _AMPLE
    held: int = 0
    """Messages that were to wait."""

    @property
    def file(self) -> Path:
        return self.world.daemon.state / _FILE

    @property
    def diary(self) -> Path:
        return self.world.daemon.folder / "taken"

    def declare(self) -> None:
        """Declare the agent with its budget."""
        command = json.dumps([sys.executable, "-I", "-S", str(_AGENT), str(self.diary)])
        self.world.daemon.write_drop_in(
            f"{NAME}.toml",
            f'[agent]\nname = "{NAME}"\nharness = "custom"\ncommand = {command}\n'
            f'workdir = "{self.world.daemon.folder}"\nrestart_delay = "20ms"\nrestart_delay_max = "20ms"\n'
            f'grace_period = "1s"\nrestart = "always"\nbudget = {{ day = "{self.limit.normalize():f}" }}\n',
        )

    def take(self) -> list[str]:
        """The lines that the agent has taken."""
        return self.diary.read_text().splitlines() if self.diary.exists() else []

    def cost(self) -> None:
        """Type a line that costs something, and wait until the agent has taken it, or agentd is killed."""
        before, daemon = len(self.take()), self.world.daemon

        def taken() -> bool:
            if daemon.screen(NAME).rstrip().endswith(">"):
                with contextlib.suppress(AssertionError):  # it ends just now
                    daemon.type(NAME, f"cost {_COST}")
                pause(0.2)
            return len(self.take()) > before or not daemon.running

        self.world.await_true(taken, "the agent takes a line", _BOUND)

    def spend(self, probe: Callable[[], bool], what: str) -> None:
        """Cost something until that is known: nobody hears of it while agentd is only about to listen."""
        end = time.monotonic() + _BOUND

        def heard() -> bool:
            return probe() or time.monotonic() > soon

        while not probe():
            if time.monotonic() > end:
                raise BrokenPromiseError(f"not within {_BOUND:g} s: {what}\n{self.explain()}")
            self.cost()
            soon = time.monotonic() + 2 * _WRITTEN
            self.world.await_true(heard, what, _BOUND)

    def written(self) -> Decimal:
        """What the file says was used today; there is a whole one."""
        found = json.loads(self.file.read_bytes())["agents"].get(NAME, {})
        return Decimal(found.get("day_usd", "0"))

    def shown(self) -> Decimal | None:
        """What agentd says was used today."""
        try:
            shown = self.world.daemon.agents()[NAME]["budget"]
        except (OSError, AssertionError, KeyError):
            return None
        bound = None if shown is None else next((each for each in shown["bounds"] if each["name"] == "day"), None)
        used = None if bound is None or bound["limit"] != float(self.limit) else bound["used"]
        return None if used is None else Decimal(str(used))

    def knows(self, least: Decimal) -> bool:
        """Whether agentd knows that so much was used at least, and no more than was."""
        if not self.world.daemon.running:
            self.world.daemon.start(ready=False)
        shown = self.shown()
        if shown is not None and shown > _COST * sum(line.startswith("cost") for line in self.take()):
            raise BrokenPromiseError(f"{shown} is said to be used\n{self.explain()}")
        return shown is not None and shown >= least

    def not_launched(self) -> bool:
        """Whether agentd says that the agent, which has ended meanwhile, waits for budget too."""
        try:
            queued = self.world.daemon.agents()[NAME]["queued"]
        except (OSError, AssertionError, KeyError):
            return False
        return queued is not None and "its budget is used up" in queued["reason"]

    def settled(self) -> bool:
        """Whether what was used is known, and written down."""
        shown = self.shown()
        try:
            return shown is not None and shown > 0 and self.written() == shown
        except (OSError, ValueError):
            return False  # as it was broken in the round before

    def amiss(self) -> Iterator[str]:
        """What must never be."""
        lines = self.take()
        for line in set(lines):
            if line.startswith("held") and lines.count(line) > 1:
                yield f"{line!r} was taken {lines.count(line)} times"

    def explain(self) -> str:
        kept = self.file.read_text() if self.file.is_file() else "none"
        return f"--- taken\n{self.take()}\n--- {_FILE}\n{kept}\n{self.world.explain()}"


_PURSES: WeakKeyDictionary[World, Purse] = WeakKeyDictionary()


def prepare_budgets(world: World) -> None:
    """Declare an agent whose turns cost something."""
    purse = _PURSES[world] = Purse(world, Talk(world, name=NAME))
    world.foreign = lambda name: name == NAME
    purse.declare()
    world.daemon.trigger = Trigger(BUDGET_POINTS)
    world.judges.append(purse.amiss)


def killed_while_it_is_counted(world: World) -> str:
    """Agentd is SIGKILLed while it counts what turns cost, and its file broken: what was used up stays used up."""
    chance, daemon, purse = world.chance, world.daemon, _PURSES[world]
    point, passes = chance.choice((*BUDGET_POINTS, *READING_POINTS)), chance.choice((1, 1, 2))
    how = chance.choice((*["none"] * 4, *DAMAGES))
    again = [chance.uniform(0, 0.5) for _ in range(chance.choice((0, 1, 2)))]
    purse.cost()
    purse.spend(purse.settled, "what was used is known, and written down")
    spent = purse.written()
    purse.limit = spent + _ROOM
    purse.declare()
    world.await_true(lambda: purse.knows(spent), "the budget is another one", _BOUND)
    if point not in READING_POINTS:
        daemon.trigger.arm(point, passes)
        purse.cost()
    else:
        purse.spend(lambda: purse.written() > spent, "it is written down")
        daemon.kill()
        daemon.trigger.arm(point, 1)
        daemon.start(ready=False)
    reached = await_death(world, _REACHED)
    daemon.kill()
    daemon.trigger.disarm()
    least = purse.written()
    if least < spent:
        raise BrokenPromiseError(f"{least} is written down, {spent} was\n{purse.explain()}")
    give_back = damage(purse.file, how, chance, "version")
    broken = purse.file.read_bytes() if how == "newer" else None
    start_and_kill(daemon, again)
    if how in HARMLESS:
        world.await_true(lambda: purse.knows(least), f"{least} is known to be used", _BOUND)
        if least > purse.limit:
            _stays_held(world, purse)
    if broken is not None:
        purse.spend(lambda: purse.knows(_COST), "it counts all the same")
        pause(_WRITTEN)
        if purse.file.read_bytes() != broken:
            raise BrokenPromiseError(f"what a newer agentd wrote was written over\n{purse.explain()}")
        daemon.kill()
        purse.file.unlink()
        daemon.start(ready=False)
    give_back()
    purse.limit = _AMPLE
    purse.declare()
    world.converge()
    return f"{point.name}{'' if reached else ' (not passed: killed anyway)'}{'' if how == 'none' else f', {how}'}"


def _stays_held(world: World, purse: Purse) -> None:
    """A message waits, over another kill too, until there is budget again."""
    purse.held += 1
    text = f"held h{purse.held}"
    purse.talk.insist(text)
    world.daemon.kill()
    world.daemon.start(ready=False)

    def waits() -> bool:
        view = purse.talk.view(text)
        return view is not None and ("its budget is used up" in str(view) or purse.not_launched())

    world.await_true(waits, "the message waits, and says why", _BOUND)
    if text in purse.take():
        raise BrokenPromiseError(f"{text!r} was taken beyond the budget\n{purse.explain()}")
    purse.limit = _AMPLE
    purse.declare()
    world.await_true(lambda: text in purse.take(), "it is taken once there is budget again", _BOUND)
