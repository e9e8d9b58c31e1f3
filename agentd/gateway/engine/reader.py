"""Reading agentd's stream of an agent, over its restarts."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from typing import Final

from agentd.api.client.socket import RefusedError
from agentd.api.client.turns import Turns
from agentd.gateway.model.errors import AgentdUnreachableError
from agentd.gateway.model.follow import Line

_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0

_MOST: Final = 2000
"""Lines that may wait: agentd keeps no more either."""


class Reader:
    """Reads it.

    Parameters
    ----------
    after
        Number of the last line that was taken.
    news
        Set when there is something to look at.
    """

    def __init__(self, turns: Turns, agent: str, after: int, news: asyncio.Event) -> None:
        self._turns = turns
        self._agent = agent
        self.after = after
        """Number of the last line that was taken."""
        self._read = after
        self._news = news
        self._lines: list[Line] = []
        self._room = asyncio.Event()
        self._there = asyncio.Event()
        self._lost = False
        """Whether the stream broke off, or had a gap: what became of a message has to be asked for."""

    async def run(self) -> None:
        """Read until cancelled."""
        delay = _FIRST_DELAY
        while True:
            try:
                async with aclosing(self._turns.stream(self._agent, self._read)) as stream:
                    async for lines in stream:
                        delay = _FIRST_DELAY
                        self._there.clear()
                        await self._put(lines)
            except (AgentdUnreachableError, RefusedError):
                # Whoever delivers the message finds out what is wrong.
                pass
            self._lost = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._there.wait()
            self._there.clear()
            delay = min(delay * 2, _LONGEST_DELAY)

    def hurry(self) -> None:
        """Say that agentd knows the agent: if the stream is not open, it is tried at once."""
        self._there.set()

    async def _put(self, lines: list[Line]) -> None:
        for line in lines:
            number = line.get("n")
            if isinstance(number, int):
                self._read = number
            self._lost = self._lost or line.get("kind") == "gap"
        self._lines += lines
        self._news.set()
        while len(self._lines) > _MOST:
            self._room.clear()
            await self._room.wait()

    def take(self) -> tuple[list[Line], bool]:
        """Take what there is: lines, and whether some may have been missed."""
        taken, self._lines = self._lines, []
        self.after = self._read
        lost, self._lost = self._lost, False
        self._room.set()
        return taken, lost
