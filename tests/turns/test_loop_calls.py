"""Calls for the event loop of another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest

from agentd.turns.loop_calls import LoopCalls
from tests.turns.claude_run import until


def test_calls_are_made_in_their_order_and_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    woken: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(call: Callable[[], object]) -> asyncio.Handle:
            woken.append(1)
            return wake(call)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        calls = LoopCalls(loop)
        for number in range(100):
            calls.make(partial(made.append, number))
        await until(lambda: len(made) == 100)

    asyncio.run(work())
    assert made == [*range(100)]
    assert len(woken) == 1


def test_calls_of_one_turn_of_a_loop_are_handed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    woken: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def taken_at_once(call: Callable[[], object]) -> asyncio.Handle:
            woken.append(len(made))
            call()
            return loop.call_soon(int)

        monkeypatch.setattr(loop, "call_soon_threadsafe", taken_at_once)
        calls = LoopCalls(loop, loop)
        for number in range(100):
            calls.make(partial(made.append, number))
        await until(lambda: len(made) == 100)
        calls.make(partial(made.append, 100))
        await until(lambda: len(made) == 101)

    asyncio.run(work())
    assert made == [*range(101)]
    assert woken == [0, 100]


def test_no_call_is_lost_whoever_makes_it_and_whatever_another_raises() -> None:
    made: list[int] = []
    failed: list[object] = []

    def ask(calls: LoopCalls, first: int) -> None:
        for number in range(first, first + 2000):
            calls.make(partial(made.append, number))
            if number % 100 == 0:
                calls.make(broken)

    def broken() -> None:
        raise ValueError("broken")

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
        calls = LoopCalls(loop)
        threads = [threading.Thread(target=ask, args=(calls, each * 2000)) for each in range(4)]
        for thread in threads:
            thread.start()
        await until(lambda: len(made) == 8000 and len(failed) == 80)
        for thread in threads:
            thread.join()

    asyncio.run(work())
    assert sorted(made) == [*range(8000)]
    for each in range(4):
        own = [number for number in made if number // 2000 == each]
        assert own == sorted(own)


def test_a_call_for_a_loop_that_has_ended_is_not_made() -> None:
    made: list[int] = []
    loop = asyncio.new_event_loop()
    calls = LoopCalls(loop)
    loop.close()
    calls.make(partial(made.append, 1))
    assert not made
