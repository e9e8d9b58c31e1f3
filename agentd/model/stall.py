"""What is done about an agent that is at work and does not go on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

UNTOLD: Final = "custom"
"""The harness of which nothing tells what it is doing, unless it does so itself: its output and CPU alone count."""


class StallAction(StrEnum):
    """What is tried with an agent that does not go on."""

    INTERRUPT = "interrupt"
    """The turn under way is interrupted."""
    RESUME = "resume"
    """It is stopped and launched again, with its conversation."""
    RESTART = "restart"
    """It is stopped and launched again, with a conversation of its own."""
    NOTIFY = "notify"
    """An event tells, and nothing else is done."""

    @property
    def stops(self) -> bool:
        """Whether the run there is ends by it."""
        return self in (StallAction.RESUME, StallAction.RESTART)


class StallPhase(StrEnum):
    """What an agent at work waits for."""

    MODEL = "model"
    """An answer of its model."""
    TOOL = "tool"
    """A tool, a build say; also where nothing tells which of both."""


@dataclass(frozen=True, slots=True)
class Stall:
    """How long an agent may be at work without going on, and what is tried then."""

    model: float | None = 600.0
    """Seconds that it may wait for its model; ``None`` is any time."""
    tool: float | None = 1800.0
    """Seconds that a tool may do nothing; ``None`` is any time."""
    action: tuple[StallAction, ...] = (StallAction.NOTIFY,)
    """In this order, each after another such time."""

    def budget(self, phase: StallPhase) -> float | None:
        """Seconds that it may do nothing; ``None`` is any time."""
        return self.model if phase is StallPhase.MODEL else self.tool
