"""How long a message that was handed over may take until its turn is known to have begun, or ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from agentd.turns.messages.message import begins_command
from agentd.turns.messages.queue import Queue

RECALL_LIMIT: Final = 20.0
"""Seconds for a message that a former daemon handed over to stand in the harness's record."""

_RECORD_LIMIT: Final = 120.0
"""The same for a message of ours, while the agent is not at work. It takes 0.1 s; OpenCode's first one took 39 s on a
loaded machine."""

_COMMAND_LIMIT: Final = 10.0
"""The same for what a coding agent may take for a command of its own, which begins no turn."""

_LOOK_AFTER: Final = 1.0
"""Seconds between two looks."""


def expect(queue: Queue, lost: Callable[[str], None], limit: float | None = None) -> None:
    """See to it that the message under way does not wait for its turn, or its end, for ever.

    Parameters
    ----------
    lost
        Called with the reason if it does.
    limit
        Seconds in which the agent is not at work.
    """
    message = queue.current
    if message is None or message.over:
        return
    within = limit or (_COMMAND_LIMIT if begins_command(message.text) else _RECORD_LIMIT)
    loop = asyncio.get_running_loop()
    since = loop.time()

    def look() -> None:
        nonlocal since
        current, receiver = queue.current, queue.receiver
        if current is None or current.id != message.id or current.over or receiver is None:
            return
        if receiver.at_work or queue.delivering is not None:
            since = loop.time()
        if loop.time() - since < within:
            loop.call_later(_LOOK_AFTER, look)
            return
        told = "no turn with it" if current.turn is None else "no end of its turn"
        lost(f"its program told of {told} within {within:g} s")

    loop.call_later(_LOOK_AFTER, look)
