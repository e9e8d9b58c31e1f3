"""One message to an agent, and what may become of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from agentd.turns.conversation import NO_USAGE, Conversation
from agentd.turns.events import Ended, Outcome, Usage

LONGEST_REASON: Final = 1000
"""Characters that are kept of why something failed."""

CLOCKS: Final = 0.1
"""Seconds by which our clock and a harness's stamp of one moment may differ."""

UNCERTAIN: Final = "it may or may not have arrived, and is not sent again"
"""What is said of a message whose fate is not known."""


class Status(StrEnum):
    """How far a message has come."""

    QUEUED = "queued"
    """The agent is busy, or not there yet."""
    DELIVERING = "delivering"
    """It is being handed over: from here on it is never handed over again unless it is certain that nothing was."""
    DELIVERED = "delivered"
    """It was handed over, and does not stand in the harness's record yet."""
    STARTED = "started"
    """A turn began with it."""
    ENDED = "ended"
    """That turn has ended."""
    FAILED = "failed"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


_NEXT: Final[Mapping[Status, tuple[Status, ...]]] = {
    Status.QUEUED: (Status.DELIVERING, Status.FAILED, Status.EXPIRED, Status.WITHDRAWN),
    Status.DELIVERING: (Status.QUEUED, Status.DELIVERED, Status.STARTED, Status.FAILED),
    # The record of a program that has ended may say that it did not arrive.
    Status.DELIVERED: (Status.QUEUED, Status.STARTED, Status.FAILED),
    Status.STARTED: (Status.ENDED,),
    # What the model used may be recorded after the end.
    Status.ENDED: (Status.ENDED,),
}

OVER: Final = frozenset({Status.ENDED, Status.FAILED, Status.EXPIRED, Status.WITHDRAWN})
"""Nothing becomes of these any more."""


class IllegalTransitionError(Exception):
    """A message cannot go from its status to another."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message."""

    agent: str
    id: str
    """Given by who sent it, and unique for the agent."""
    text: str = field(repr=False)
    accepted: float
    """Seconds since the epoch."""
    expires: float | None = None
    """When it is not delivered any more."""
    sender: str | None = None
    """Who sent it, by the kernel's account: ``agent:NAME``, ``uid:NUMBER`` or ``agentd``; ``None`` if not known."""
    status: Status = Status.QUEUED
    changed: float = 0.0
    """When it got its status."""
    begun: float = 0.0
    """When its delivery began."""
    run: str | None = None
    """The run that it was, or is being, handed to."""
    turn: str | None = None
    witness: str | None = None
    """Who says that it was handed over, or that a turn began with it."""
    outcome: Outcome | None = None
    final_text: str | None = field(default=None, repr=False)
    failure: str | None = None
    error: str | None = None
    """Why it failed, or what the harness said went wrong; of a queued one, why it could not be handed over."""
    usage: Usage = NO_USAGE

    @property
    def over(self) -> bool:
        """Whether nothing becomes of it any more."""
        return self.status in OVER

    def view(self) -> dict[str, object]:
        """What is shown of it."""
        return {
            "id": self.id,
            "agent": self.agent,
            "sender": self.sender,
            "text": self.text,
            "status": self.status.value,
            "accepted": self.accepted,
            "changed": self.changed,
            "expires": self.expires,
            "begun": self.begun or None,
            "run": self.run,
            "turn": self.turn,
            "witness": self.witness,
            "outcome": None if self.outcome is None else self.outcome.value,
            "final_text": self.final_text,
            "failure": self.failure,
            "error": self.error,
            "usage": self.usage.view(),
        }


def same_text(sent: str, recorded: str) -> bool:
    """Whether a harness recorded the message that was sent: it may trim it, break its lines and widen its tabs."""
    return "".join(sent.split()) == "".join(recorded.split())


def begins_command(text: str) -> bool:
    """Whether coding agents may take a text for a command of their own, which begins no turn."""
    return text.lstrip().startswith(("/", "!", "#"))


def begin(message: Message, run: str, at: float) -> Message:
    """Hand it over to a run, from now on."""
    return replace(_to(message, Status.DELIVERING, at), run=run, begun=at, error=None)


def put_back(message: Message, reason: str, at: float) -> Message:
    """Nothing was handed over: it waits again."""
    return replace(_to(message, Status.QUEUED, at), run=None, witness=None, error=reason[:LONGEST_REASON])


def held_back(message: Message, reason: str) -> Message:
    """It cannot be handed over just now."""
    return replace(message, error=reason[:LONGEST_REASON])


def handed_over(message: Message, witness: str, at: float) -> Message:
    """The agent was given it."""
    return replace(_to(message, Status.DELIVERED, at), witness=witness)


def started(message: Message, conversation: Conversation, witness: str, at: float) -> Message | None:
    """Give it as started, if the turn under way began with it."""
    turn = conversation.turn
    if turn is None or message.status not in (Status.DELIVERING, Status.DELIVERED):
        return None
    if turn.prompt is not None and not same_text(message.text, turn.prompt):
        return None
    return replace(_to(message, Status.STARTED, at), turn=turn.id, witness=witness)


def ended(message: Message, conversation: Conversation, at: float) -> Message | None:
    """Give it as ended, if the last turn is its own: what that used may still grow."""
    last = conversation.last
    if last is None or last.end is None or last.id != message.turn:
        return None
    if message.status is Status.ENDED and message.usage == last.usage:
        return None
    if message.status not in (Status.STARTED, Status.ENDED):
        return None
    return _with_end(message, last.end, last.usage, at)


def _with_end(message: Message, end: Ended, usage: Usage, at: float) -> Message:
    return replace(
        _to(message, Status.ENDED, at),
        outcome=end.outcome,
        final_text=end.final_text,
        failure=None if end.failure is None else end.failure.value,
        error=None if end.error is None else end.error[:LONGEST_REASON],
        usage=usage,
    )


def failed(message: Message, reason: str, at: float) -> Message:
    """It was not delivered, or it is not known whether it was."""
    return replace(_to(message, Status.FAILED, at), error=reason[:LONGEST_REASON])


def expired(message: Message, at: float) -> Message:
    """It waited for too long; what was in its way last stays said."""
    kept = "it waited for longer than its sender allowed"
    told = kept if message.error is None else f"{kept}: {message.error}"
    return replace(_to(message, Status.EXPIRED, at), error=told[:LONGEST_REASON])


def withdrawn(message: Message, at: float) -> Message:
    """Whoever sent it took it back."""
    return _to(message, Status.WITHDRAWN, at)


def lost(message: Message, reason: str, at: float) -> Message:
    """The run that had it is gone, or not heard any more: settle it as that leaves it."""
    if message.status is Status.STARTED:
        return _with_end(message, Ended(Outcome.LOST, error=reason), message.usage, at)
    return failed(message, f"{reason}: {UNCERTAIN}", at)


def _to(message: Message, status: Status, at: float) -> Message:
    if status not in _NEXT.get(message.status, ()):
        raise IllegalTransitionError(f"the message {message.id} is {message.status}, and cannot become {status}")
    return replace(message, status=status, changed=at)


def returned(last: Message | None) -> str | None:
    """The last message, if it may stand in the input box: its turn was interrupted, or was not seen to begin."""
    if last is None:
        return None
    return last.text if last.outcome is Outcome.INTERRUPTED or last.status is Status.FAILED else None
