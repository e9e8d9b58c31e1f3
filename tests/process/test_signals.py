"""Signals that come while the event loop is busy."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from agentd.process.signals import on_signal


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    former = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, former)


async def test_a_signal_counts_though_the_pipe_that_wakes_the_loop_is_full() -> None:
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    on_signal(signal.SIGUSR1, came.set)

    def fill() -> None:
        for _ in range(5000):
            loop.call_soon_threadsafe(lambda: None)

    # The loop does not run meanwhile.
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGUSR1)
    async with asyncio.timeout(30):
        await came.wait()


async def test_a_signal_wakes_a_loop_that_sleeps() -> None:
    came = asyncio.Event()
    on_signal(signal.SIGUSR1, came.set)
    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1)).start()
    async with asyncio.timeout(30):
        await came.wait()
