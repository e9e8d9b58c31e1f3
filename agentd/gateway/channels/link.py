"""What a connection to a broker does for a channel, whichever the broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from agentd.gateway.model.channels import Answer

DEADLINE: Final = 10.0
"""Seconds for anything that is asked of a broker."""

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0


class LinkError(Exception):
    """The broker cannot be used now; the text says why."""


class UnusableError(Exception):
    """It cannot be used until something is changed and the gateway started again; the text says what."""


class OversizedError(Exception):
    """The broker takes no message of that size.

    Parameters
    ----------
    index
        Of the first that it did not take; it may have taken some of those after that.
    """

    def __init__(self, reason: str, index: int = 0) -> None:
        super().__init__(reason)
        self.index = index


class LaterError(Exception):
    """A message cannot be taken now; the text says why."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came."""

    id: str | None
    """Under which it is taken once; ``None`` if the broker gives none."""
    name: str | None
    """The broker's own id of it."""
    data: bytes
    fault: str | None = None
    """Why it can be no message, if whoever reads the broker knows."""


class Handler(Protocol):
    """Takes messages."""

    async def take(self, incoming: Incoming) -> bool:
        """Take a message; says whether something was stored. When it returns, the broker may forget the message.

        Raises
        ------
        LaterError
            If it is to be given again, after a while.
        """
        ...

    async def give_up(self, incoming: Incoming) -> None:
        """Undo `take`: somebody else was given the message."""
        ...


class Link(Protocol):
    """An open connection. All of it raises `LinkError` once that is lost."""

    async def consume(self, handler: Handler) -> NoReturn:
        """Give messages to a handler, one after the other."""
        ...

    async def send(self, answers: Sequence[Answer]) -> None:
        """Write to those at the other end, in order; the broker has them when it returns.

        Raises
        ------
        OversizedError
            If it has not, for the size of one.
        """
        ...

    async def say(self, data: bytes) -> str | None:
        """Write a message as somebody at the other end does; gives the broker's id of it.

        Raises
        ------
        OversizedError
            If it is too large for the broker.
        """
        ...

    async def bury(self, data: bytes) -> None:
        """Put a bad message aside.

        Raises
        ------
        OversizedError
            If it is too large for the broker.
        """
        ...


class Delay:
    """How long to wait until something is tried again: twice as long each time."""

    def __init__(self, longest: float = _LONGEST_DELAY) -> None:
        self._longest = longest
        self._next = _FIRST_DELAY

    def next(self) -> float:
        """Give the seconds, and double them."""
        delay, self._next = self._next, min(2 * self._next, self._longest)
        return delay

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._next = _FIRST_DELAY
