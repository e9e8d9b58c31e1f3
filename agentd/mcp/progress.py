"""Telling a host that a call goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

TELL_EVERY: Final = 5.0
"""Seconds between two words of progress: OpenCode cuts a call from which it hears nothing."""

Progress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Tells how far a call is: done, of, and words of ours."""


async def told_of(call: Awaitable[T], progress: Progress) -> T:
    """Wait for a call, and say every few seconds that it goes on; cancelled, the call is, too."""
    clock = asyncio.get_running_loop().time
    began = clock()
    task = asyncio.ensure_future(call)
    try:
        while True:
            done, _ = await asyncio.wait((task,), timeout=TELL_EVERY)
            if done:
                return task.result()
            await progress(clock() - began, None, "waiting")
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
