"""The messages of one agent that something may still become of, and what may be wrong with one that is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from agentd.turns.messages.message import Message
from agentd.turns.messages.receiver import Receiver

MOST_WAITING: Final = 100
"""Messages of an agent that wait."""


class NoSuchMessageError(Exception):
    """There is no message of that id."""


class ConflictError(Exception):
    """What is asked does not fit the message there is; the text says why."""


class QueueFullError(Exception):
    """More messages wait than a queue holds."""


@dataclass(slots=True)
class Queue:
    """The messages of one agent that something may still become of."""

    agent: str
    waiting: list[Message] = field(default_factory=list)
    current: Message | None = None
    """The one that was taken from those that wait; the last one, after its end."""
    receiver: Receiver | None = None
    delivering: asyncio.Task[None] | None = None
    accepting: asyncio.Lock = field(default_factory=asyncio.Lock)
    again: asyncio.TimerHandle | None = None
    not_before: float = 0.0
    """When the loop's clock allows the next try."""

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self.current is not None and not self.current.over

    @property
    def full(self) -> bool:
        """Whether no more may wait."""
        return len(self.waiting) >= MOST_WAITING

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.busy

    def live(self, message: str) -> Message | None:
        """A message by its id."""
        known = [*self.waiting, *([] if self.current is None else [self.current])]
        return next((each for each in known if each.id == message), None)
