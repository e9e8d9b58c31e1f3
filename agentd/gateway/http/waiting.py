"""Waiting for what comes next, or for the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, TypeVar

T = TypeVar("T")

_MOST_HELD: Final = 256
"""Items that wait for a slow reader, before no more are taken."""


async def bundles(items: AsyncIterator[T], over: asyncio.Event, alive: float) -> AsyncGenerator[list[T], None]:
    """Give items as they come, together those that are there, until they end or the event is set.

    After `alive` seconds without one an empty bundle is given. What was there when the event was set is given first.
    Items are taken by one task, since one for each item cost 40 µs: 1000 followers had kept the loop busy.
    """
    held: list[T] = []
    news, room = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def take() -> None:
        async for item in items:
            held.append(item)
            news.set()
            if len(held) >= _MOST_HELD:
                room.clear()
                await room.wait()

    taking = asyncio.create_task(take())
    ending = asyncio.create_task(over.wait())
    for task in (taking, ending):
        task.add_done_callback(lambda _: news.set())
    try:
        while True:
            if not held and not taking.done() and not ending.done():
                news.clear()
                timer = loop.call_later(alive, news.set)
                try:
                    await news.wait()
                finally:
                    timer.cancel()
            bundle = held.copy()
            held.clear()
            room.set()
            if bundle or not (taking.done() or ending.done()):
                yield bundle
            elif taking.done():
                taking.result()
                return
            else:
                return
    finally:
        taking.cancel()
        ending.cancel()
        await asyncio.wait([taking, ending])
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def until(items: AsyncIterator[T], over: asyncio.Event, alive: float) -> AsyncGenerator[T | None, None]:
    """As `bundles`, one by one; ``None`` for an empty bundle."""
    async with aclosing(bundles(items, over, alive)) as coming:
        async for bundle in coming:
            if not bundle:
                yield None
            for item in bundle:
                yield item
