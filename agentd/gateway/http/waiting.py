"""Waiting for what comes next, or for the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def until(items: AsyncIterator[T], over: asyncio.Event, alive: float) -> AsyncGenerator[T | None, None]:
    """Give items as they come, and ``None`` after so many seconds without one, until the event is set."""
    ending = asyncio.create_task(over.wait())
    coming: asyncio.Task[T] | None = None
    try:
        while not over.is_set():
            coming = coming or asyncio.create_task(_next(items))
            done, _ = await asyncio.wait([coming, ending], timeout=alive, return_when=asyncio.FIRST_COMPLETED)
            if coming in done:
                try:
                    item = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                yield item
            elif not done:
                yield None
    finally:
        tasks = [task for task in (coming, ending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
