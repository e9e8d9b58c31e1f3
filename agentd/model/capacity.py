"""How many agents may run at once: what ``[limits]`` and ``[[pools]]`` of a jcard say, and the queue for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EACH: Final = "*"
"""In place of a repository or an account: each has slots of its own."""


@dataclass(frozen=True, slots=True)
class SlotPool:
    """One ``[[pools]]`` table: slots for the agents that it is about."""

    name: str
    slots: int
    repository: str | None = None
    """Of its agents, absolute, or `EACH`; ``None`` is any, and none."""
    account: str | None = None
    """Of its agents, or `EACH`; ``None`` is any."""
    agents: tuple[str, ...] | None = None
    """Names or patterns of them; ``None`` is any."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What all agents share."""

    running: int | None = None
    """Agents at once."""
    memory: int | None = None
    """What their own limits may come to together, in bytes."""
    one_writer: bool = True
    """Whether two agents that write to one repository itself never run at once."""
    pools: tuple[SlotPool, ...] = ()


@dataclass(frozen=True, slots=True)
class Claims:
    """What an agent takes of the capacity, beside a place and its memory."""

    account: str
    repository: str | None = None
    """That it works in; ``None`` if in none."""
    writes: bool = False
    """Whether in that itself, not in a worktree of its own."""


@dataclass(frozen=True, slots=True)
class Queued:
    """An agent's place in the queue."""

    place: int | None
    """From 1; ``None`` if it is not its turn yet, since it comes after others, or its schedule starts it later."""
    reason: str
    """What it waits for, in words."""
    since: float
    """Seconds since the epoch."""
    by_clock: bool = False
    """Whether it waits for its schedule, and for nobody."""

    def __str__(self) -> str:
        """Say it on one line."""
        return f"queued: {self.reason}" if self.place is None else f"queued, place {self.place}: {self.reason}"
