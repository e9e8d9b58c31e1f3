"""Work that is whole or absent, although whoever asked for it may leave at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class Whole:
    """Does work to its end; owns what is under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    async def do(self, work: Coroutine[object, object, T]) -> T:
        """Do it; a caller that is cancelled leaves, and the work goes on."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Nobody may be there any more to be told of an error.
            task.exception()

    async def settled(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)
