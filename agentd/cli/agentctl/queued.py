"""Send a message by the agent's queue, which the daemon keeps."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Final

from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.turns_client import ConversationView, MessageView, TurnsClient
from agentd.turns.messages.message import begins_command
from agentd.turns.sending import Outcome

_LOOK_AFTER: Final = 0.05
"""Seconds between two looks."""

_RECORD_LIMIT: Final = 3.0
"""Seconds for a message that was handed over to stand in the record; it takes 0.1 s."""

_TOO_MANY: Final = 429


def is_seen(conversation: ConversationView) -> bool:
    """Whether something tells what the agent is doing."""
    return conversation.activity not in (None, "unknown")


def has_queue(conversation: ConversationView | None, text: str) -> bool:
    """Whether a message is sent by the queue: the agent is seen at its turns, and the text begins one."""
    return conversation is not None and is_seen(conversation) and not begins_command(text)


class NoQueueError(CommandError):
    """Nothing was put into a queue: there is none for this agent, or for this user."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sender says of a message beside its text."""

    id: str | None = None
    """Sent again with it, it is the same message; ``None`` makes one."""
    expires: float | None = None
    """Seconds after which it is not delivered any more."""

    @property
    def given(self) -> bool:
        """Whether the sender said anything."""
        return self != Receipt()


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in an agent's queue."""

    client: TurnsClient
    agent: str
    id: str
    stays: bool = False
    """Whether it waits for as long as its sender said, whatever is in its way."""

    @classmethod
    def send(cls, invocation: Invocation, agent: str, text: str, receipt: Receipt | None = None) -> QueuedMessage:
        """Put a message into the queue.

        Raises
        ------
        NoQueueError
            If there is none, with the daemon's reason.
        CommandError
            If too many messages wait.
        """
        given = receipt or Receipt()
        message_id = given.id or f"agentctl-{uuid.uuid4().hex}"
        queued = cls(TurnsClient.of(invocation), agent, message_id, given.expires is not None)
        try:
            queued.client.send(agent, queued.id, text, given.expires)
        except ApiError as error:
            refused = CommandError if error.status == _TOO_MANY else NoQueueError
            raise refused(str(error), error.code, f"agentctl status {agent}") from None
        except UnreachableError as error:
            raise NoQueueError(str(error), "agentd_unreachable", "agentctl doctor") from None
        return queued

    def look(self) -> MessageView:
        """Read what became of it."""
        try:
            return self.client.message(self.agent, self.id)
        except ApiError as error:
            gone = f"the message to {self.agent} is not known any more: {error}"
            raise CommandError(gone, error.code, f"agentctl mailbox {self.agent}") from None

    def withdraw(self) -> bool:
        """Take it back; says whether that was possible."""
        try:
            self.client.withdraw(self.agent, self.id)
        except ApiError:
            return False
        return True

    def until_taken(self, timeout: float) -> Outcome:
        """Wait until the agent has it, or it is certain that it waits for the end of a turn.

        Raises
        ------
        CommandError
            If it was not delivered.
        """
        end, handed_over = time.monotonic() + timeout, 0.0
        while True:
            message = self.look()
            match message.status:
                case "started" | "ended":
                    return Outcome.RECORDED
                case "queued":
                    waits = self._waits(message, over=time.monotonic() >= end)
                    if waits is not None:
                        return waits
                case "delivering" | "delivered":
                    handed_over = handed_over or time.monotonic()
                    if message.status == "delivered" and time.monotonic() >= handed_over + _RECORD_LIMIT:
                        return Outcome.TAKEN
                case _:
                    failed = f"the message to {self.agent} is {message.status}: {message.error or 'not delivered'}"
                    raise CommandError(failed, example=f"agentctl screen {self.agent}")
            time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and the message is asked for)

    def _waits(self, message: MessageView, *, over: bool) -> Outcome | None:
        now = self.client.conversation(self.agent)
        if now is not None and now.turn is not None:
            return Outcome.QUEUED
        if not over:
            return None
        if message.error is None or self.stays:
            return Outcome.QUEUED
        if not self.withdraw():
            return None
        raise CommandError(
            f"nothing was sent: {self.agent} takes no message: {message.error}: see agentctl screen {self.agent}; "
            f"agentctl keys {self.agent} answers a question; --force sends anyway",
            "conflict",
            f"agentctl screen {self.agent}",
        )
