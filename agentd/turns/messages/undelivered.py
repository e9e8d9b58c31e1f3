"""What the sender of a message is told that was not delivered. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from agentd.turns.messages.message import Message, Status

BY_AGENT: Final = "agent:"
"""What the sender of a message is called by, if it was an agent: the agent's name follows."""

OURS: Final = "agentd"
"""The sender of what agentd itself says."""

_QUOTED: Final = 200
"""Characters of the message that its sender is reminded of."""


def sending_agent(message: Message) -> str | None:
    """Name the agent that is to be told that its message was not delivered; ``None`` if there is nothing to tell it."""
    if message.status not in (Status.FAILED, Status.EXPIRED) or message.sender is None:
        return None
    agent = message.sender.removeprefix(BY_AGENT)
    return agent if agent != message.sender else None


def notice_of(message: Message, sender: str, at: float) -> Message:
    """Write to an agent that a message of it was not delivered."""
    quoted = message.text if len(message.text) <= _QUOTED else f"{message.text[: _QUOTED - 1]}…"
    text = (
        f"agentd: your message {message.id} to {message.agent} was not delivered ({message.status}"
        f"{f': {message.error}' if message.error else ''}). It began: {quoted}"
    )
    named = hashlib.sha256(f"{message.agent.lower()}/{message.id}".encode()).hexdigest()[:24]
    return Message(sender, f"undelivered-{named}", text, at, sender=OURS, changed=at)
