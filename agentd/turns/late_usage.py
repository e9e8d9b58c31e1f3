"""Tells a turn's usage shortly after its end: it comes in pieces, some of them late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentd.turns.conversation import NO_USAGE, Conversation
from agentd.turns.events import Usage

_AFTER = 1.0
"""Seconds after a turn's end in which its usage is still told."""


class LateUsage:
    """Tells the usage of the turns of one run.

    Parameters
    ----------
    conversation
        Gives what is known of the conversation.
    tell
        Takes what of a turn's usage was not told yet.
    """

    def __init__(self, conversation: Callable[[], Conversation], tell: Callable[[Usage], None]) -> None:
        self._conversation = conversation
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._told: dict[str, Usage] = {}
        """Of the last turn, by its id."""

    def tell_soon(self) -> None:
        """Tell what was used, once more may have come."""
        if self._timer is None and self._conversation().turn is None and self._untold() != NO_USAGE:
            self._timer = asyncio.get_running_loop().call_later(_AFTER, self._tell_it)

    def tell_now(self) -> None:
        """Tell at once what would be told soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell_it()

    def cancel(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _untold(self) -> Usage:
        last = self._conversation().last
        return NO_USAGE if last is None else last.usage - self._told.get(last.id, NO_USAGE)

    def _tell_it(self) -> None:
        self._timer = None
        last, untold = self._conversation().last, self._untold()
        if last is not None and untold != NO_USAGE:
            self._told = {last.id: last.usage}
            self._tell(untold)
