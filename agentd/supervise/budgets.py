"""What agents have used of their budgets, and which are used up: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum

from agentd.model.budgets import BreachAction, Budget

NOTHING = Decimal(0)

_SMALLEST = Decimal("0.000000001")
"""Dollars: what programs say of costs are differences of floating-point numbers."""


class Bound(StrEnum):
    """One number of a budget."""

    USD = "usd"
    DAY = "day"
    TURNS = "turns"

    @property
    def what(self) -> str:
        """What it is a number of."""
        return {"usd": "US dollars in this run", "day": "US dollars today", "turns": "turns in this run"}[self.value]


@dataclass(frozen=True, slots=True)
class Account:
    """What an agent has used; of money, also what the workers have that it has spawned, and those that they have."""

    run: str | None = None
    """The run there is, or was last."""
    run_usd: Decimal = NOTHING
    run_turns: int = 0
    """That have begun."""
    turn: str | None = None
    """The last one that was counted, by the program's own id."""
    day: str = ""
    """The date of `day_usd`."""
    day_usd: Decimal = NOTHING
    told_at: float | None = None
    """When a cost was told last, in seconds since the epoch."""
    breached: tuple[str, ...] = ()
    """The bounds of which it was told that they are used up."""

    @property
    def is_unused(self) -> bool:
        """Whether nothing was used, so that it says no more than an account that was never kept."""
        return self == Account(self.run, day=self.day)

    def began(self, run: str) -> Account:
        """A run is there: nothing of a former one counts to it."""
        return self if self.run == run else replace(self, run=run, run_usd=NOTHING, run_turns=0, turn=None)

    def turn_began(self, turn: str) -> Account:
        """A turn has begun; one that is told again does not count again."""
        if turn and turn == self.turn:
            return self
        return replace(self, run_turns=self.run_turns + 1, turn=turn or None)

    def named(self, turn: str) -> Account:
        """The turn that was counted last has this id."""
        return replace(self, turn=turn)

    def told(self, bounds: tuple[str, ...]) -> Account:
        """It was told that these are used up, and the others are not any more."""
        return replace(self, breached=bounds)

    def on(self, day: str) -> Account:
        """The account on a day."""
        return self if self.day == day else replace(self, day=day, day_usd=NOTHING)

    def cost(self, usd: Decimal, day: str, at: float) -> Account:
        """A program has said what something cost."""
        account = self.on(day)
        return replace(account, run_usd=account.run_usd + usd, day_usd=account.day_usd + usd, told_at=at)

    def used(self, bound: Bound) -> Decimal | int:
        """What was used of a bound."""
        if bound is Bound.TURNS:
            return self.run_turns
        return self.run_usd if bound is Bound.USD else self.day_usd


@dataclass(frozen=True, slots=True)
class Breach:
    """A bound that is used up."""

    agent: str
    """Whose budget it is: the agent, or one that spawned it."""
    bound: Bound
    used: Decimal | int
    limit: Decimal | int
    action: BreachAction

    @property
    def text(self) -> str:
        """What is used up, in words."""
        return f"{shown(self.used)} of {shown(self.limit)} {self.bound.what} are used"

    def reason(self, agent: str) -> str:
        """Why an agent's turns do not begin, in words."""
        return self.text if self.agent.lower() == agent.lower() else f"{self.text} by {self.agent}, which spawned it"


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """What an agent has used, as its watcher tells it."""

    account: Account
    breach: Breach | None = None
    """What holds it up: of its own budget, or of one that spawned it."""


def bounds(budget: Budget) -> Mapping[Bound, Decimal | int]:
    """The numbers of a budget."""
    numbers = {Bound.USD: budget.usd, Bound.DAY: budget.day, Bound.TURNS: budget.turns}
    return {bound: limit for bound, limit in numbers.items() if limit is not None}


def breaches(agent: str, budget: Budget | None, account: Account, *, in_turn: bool) -> tuple[Breach, ...]:
    """The bounds of an agent's budget that are used up.

    Parameters
    ----------
    in_turn
        Whether a turn is under way: the last one that is allowed is not cut off.
    """
    if budget is None:
        return ()
    found = []
    for bound, limit in bounds(budget).items():
        used = account.used(bound)
        if used > limit or (used == limit and not (bound is Bound.TURNS and in_turn)):
            found.append(Breach(agent, bound, used, limit, budget.action))
    return tuple(found)


def strongest(found: tuple[Breach, ...], *, stays: bool) -> Breach | None:
    """The breach that decides what an agent does: a stop, then a pause, then word of it.

    Parameters
    ----------
    stays
        Whether the agent is there between turns: one that is not cannot be paused, and is stopped.
    """
    order = (BreachAction.STOP, BreachAction.PAUSE, BreachAction.NOTIFY)
    first = min(found, key=lambda breach: order.index(breach.action), default=None)
    if first is not None and first.action is BreachAction.PAUSE and not stays:
        return replace(first, action=BreachAction.STOP)
    return first


def launch_breach(agent: str, held: Iterable[tuple[str, Budget | None, Account]]) -> Breach | None:
    """The breach for which an agent is not launched: a new run has what a run may use, but no other day.

    Parameters
    ----------
    held
        Whose budget it is held to, that, and what was used: of the agent itself, and those that spawned it, whose runs
        go on.
    """
    for name, budget, account in held:
        own = name.lower() == agent.lower()
        for breach in breaches(name, budget, account, in_turn=False):
            counts = breach.bound is Bound.DAY or (breach.bound is Bound.USD and not own)
            if counts and breach.action is not BreachAction.NOTIFY:
                return breach
    return None


def dollars(cost: float) -> Decimal:
    """What a program says of a cost, as an exact number."""
    return Decimal(repr(cost)).quantize(_SMALLEST)


def day_of(at: float, zone: tzinfo) -> str:
    """The date at a moment."""
    return datetime.fromtimestamp(at, zone).date().isoformat()


def day_ends(at: float, zone: tzinfo) -> float:
    """When the day of a moment ends, in seconds since the epoch."""
    tomorrow = datetime.fromtimestamp(at, zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).timestamp()


def shown(number: Decimal | int) -> str:
    """An amount, or a number of turns, for people."""
    return f"{number:f}".rstrip("0").rstrip(".") if isinstance(number, Decimal) and number % 1 else f"{number:.0f}"
