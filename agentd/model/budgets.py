"""What agents may use up of money and turns, and what follows when they have. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum


class BreachAction(StrEnum):
    """What follows when a budget is used up."""

    PAUSE = "pause"
    """The turn under way is interrupted, and no other begins until there is budget again."""
    STOP = "stop"
    """The agent is stopped."""
    NOTIFY = "notify"
    """An event tells, and nothing else is done."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an agent may use up; ``None`` is no limit, or as whoever it inherits from says."""

    usd: Decimal | None = None
    """US dollars in one run."""
    day: Decimal | None = None
    """US dollars in one day, by the local clock."""
    turns: int | None = None
    """Turns in one run."""
    on_breach: BreachAction | None = None
    """``None`` as whoever it inherits from says, `BreachAction.PAUSE` in the end."""

    @property
    def limits(self) -> bool:
        """Whether it limits anything."""
        return not (self.usd is None and self.day is None and self.turns is None)

    @property
    def action(self) -> BreachAction:
        """What follows when it is used up."""
        return self.on_breach or BreachAction.PAUSE

    def within(self, outer: Budget) -> Budget:
        """Take what it does not say itself from another."""
        return replace(
            self,
            usd=outer.usd if self.usd is None else self.usd,
            day=outer.day if self.day is None else self.day,
            turns=outer.turns if self.turns is None else self.turns,
            on_breach=self.on_breach or outer.on_breach,
        )
