"""Time that passes at once, for what an event loop has timers for."""

from __future__ import annotations

import asyncio


async def pass_time(seconds: float) -> None:
    """Put the running loop's clock forward, and wait until all timers up to then have been called.

    A test of what happens, or does not, after some seconds can then have limits that no loaded machine reaches.
    """
    loop = asyncio.get_running_loop()
    at = loop.time() + seconds
    passed = asyncio.Event()
    loop.call_at(at, passed.set)
    unchanged = loop.time
    loop.time = lambda: unchanged() + seconds  # type: ignore[method-assign]  # the loop has no other way
    await passed.wait()
