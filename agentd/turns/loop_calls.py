"""Calls for the event loop of another thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable


class LoopCalls:
    """Has calls made by an event loop, in the order they came, from any thread.

    Calls that come before the loop has looked at the first of them wake it no more: each waking is a write to a pipe,
    at which whoever calls also gives the interpreter away. For the start of 300 agents that was a twelfth of the work.

    Parameters
    ----------
    loop
        That makes them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], object]] = []

    def make(self, call: Callable[[], object]) -> None:
        """Have a call made soon; not at all if the loop has ended, for then nobody wants to know."""
        with self._lock:
            self._waiting.append(call)
            first = len(self._waiting) == 1
        if first:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            calls, self._waiting = self._waiting, []
        for call in calls:
            # By the loop itself, so that what one of them raises is no other's concern.
            self._loop.call_soon(call)
