"""What an adapter of Claude Code holds: hooks that wait, and messages that it looks for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentd.turns.adapter import Hook
from agentd.turns.claude.session_file import Prompted, Recorded
from agentd.turns.messages.message import CLOCKS, same_text


@dataclass(slots=True)
class Held:
    """A hook that waits for an answer."""

    hook: Hook
    reply: asyncio.Future[bytes | None]


def is_of(recorded: Recorded, text: str, since: float) -> bool:
    """Whether a record is of a message with this text, since a time."""
    return isinstance(recorded, Prompted) and recorded.at >= since - CLOCKS and same_text(text, recorded.prompt)
