"""Calls for the event loop of another thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence


class LoopCalls:
    """Has calls made by an event loop, in the order they came, from any thread.

    Calls that come before the loop has looked at the first of them wake it no more: each waking is a write to a pipe,
    at which whoever calls also gives the interpreter away. For the start of 300 agents that was a twelfth of the work.

    Parameters
    ----------
    loop
        That makes them.
    of
        The loop that all calls come from, if one does: those of one turn of it are handed over together. Else the other
        thread takes the first call at once, and each that follows wakes it again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, of: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._of = of
        self._lock = threading.Lock()
        self._together: list[Callable[[], object]] = []
        self._waiting: list[Callable[[], object]] = []

    def make(self, call: Callable[[], object]) -> None:
        """Have a call made soon; not at all if the loop has ended, for then nobody wants to know."""
        if self._of is None:
            self._hand_over((call,))
            return
        self._together.append(call)
        if len(self._together) == 1:
            self._of.call_soon(self._hand_over_together)

    def _hand_over_together(self) -> None:
        together, self._together = self._together, []
        self._hand_over(together)

    def _hand_over(self, calls: Sequence[Callable[[], object]]) -> None:
        with self._lock:
            first = not self._waiting
            self._waiting.extend(calls)
        if first:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            calls, self._waiting = self._waiting, []
        for call in calls:
            # By the loop itself, so that what one of them raises is no other's concern.
            self._loop.call_soon(call)
