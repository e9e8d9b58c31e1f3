"""Waits a moment for a request that the screen shows before the harness tells of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from agentd.model.states import Activity
from agentd.turns.activity import SCREEN, Shown
from agentd.turns.conversation import Conversation

LIMIT: Final = 5.0
"""Seconds; OpenCode's server is heard 1 s after its screen shows a question."""

_WAITS: Final = (Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)


class Asked:
    """Whether a run has asked for something."""

    def __init__(self) -> None:
        self._known = asyncio.Event()

    def note(self, conversation: Conversation) -> None:
        """Take what is known of its conversation now."""
        if conversation.requests:
            self._known.set()

    async def wait(self, conversation: Conversation, shown: Shown | None) -> None:
        """Wait, if the screen alone shows that it asks, until its request is known; not for long."""
        if conversation.requests or shown is None or shown.doing.activity not in _WAITS:
            return
        if shown.doing.source != SCREEN and not shown.doing.blind:
            return
        self._known.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT):
                await self._known.wait()
