"""Signals that an asyncio program acts on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


def on_signal(number: signal.Signals, act: Callable[[], object]) -> None:
    """Call something in the running event loop whenever a signal comes.

    asyncio's own way loses a signal that comes while the pipe that wakes the loop is full: 300 jobs that threads finish
    while the loop is busy fill it.
    """
    loop = asyncio.get_running_loop()
    # Wakes the loop, also if the signal comes just before it goes to sleep.
    loop.add_signal_handler(number, lambda: None)
    # A full pipe wakes it as well: no word of it on stderr.
    signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    signal.signal(number, lambda *_: loop.call_soon_threadsafe(act))
    signal.siginterrupt(number, False)
