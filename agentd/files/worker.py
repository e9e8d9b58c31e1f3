"""Threads for what may wait for a disk, so that a disk that hangs holds up neither the event loop nor its end."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

T = TypeVar("T")


class Worker:
    """Does jobs in threads, in the order they came.

    The threads are daemonic: a process can end while a disk keeps one of them (`concurrent.futures` would wait).

    Parameters
    ----------
    name
        Of the threads.
    threads
        How many at most; each is started once there are as many jobs. With more than one, jobs that follow each other
        may overlap.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._since: dict[int, float] = {}
        self._open: set[Callable[[], None]] = set()
        """Jobs that are not done."""
        self._name = name
        self._most = threads
        self._threads = 0

    def do(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Do a job; the future is the running event loop's."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # Whoever waited may have given up; what became of it is then of no interest.
        future.add_done_callback(_look_at)

        def work() -> None:
            _hand_over(loop, future, job)

        self._open.add(work)
        self._jobs.put(work)
        if self._threads < min(self._most, len(self._open)):
            number, self._threads = self._threads, self._threads + 1
            threading.Thread(target=self._work, args=(number,), name=f"{self._name}-{number}", daemon=True).start()
        return future

    def busy_for(self) -> float:
        """Seconds that the longest job under way has taken so far."""
        return time.monotonic() - min(self._since.copy().values(), default=time.monotonic())

    def close(self) -> None:
        """Let the threads end after the jobs there are."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self, number: int) -> None:
        while (job := self._jobs.get()) is not None:
            self._since[number] = time.monotonic()
            job()
            del self._since[number]
            self._open.discard(job)


def _look_at(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()


def in_thread(name: str, job: Callable[[], T]) -> asyncio.Future[T]:
    """Do a job that has its own limits in a daemonic thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    threading.Thread(target=_hand_over, args=(loop, future, job), name=name, daemon=True).start()
    return future


def _hand_over(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], job: Callable[[], T]) -> None:
    """Do a job in a thread, and give what comes of it to the future of an event loop."""
    try:
        told: Callable[[], None] = partial(settle, future, job(), None)
    except BaseException as error:  # noqa: BLE001 (handed on to whoever awaits the future)
        told = partial(settle, future, None, error)
    # The loop may have ended: then nobody waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(told)


def settle(future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    """Give a future its result or error, unless whoever waited has given up."""
    if future.done():
        return
    if error is None:
        future.set_result(cast("T", result))
    else:
        future.set_exception(error)
