"""Waiting for what comes next, or for the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from agentd.gateway.http.waiting import bundles


async def numbers(first: int, last: int, closed: list[bool] | None = None) -> AsyncGenerator[int, None]:
    try:
        for number in range(first, last):
            yield number
            if number % 10 == 0:
                await asyncio.sleep(0)
    finally:
        if closed is not None:
            closed.append(True)


async def endless(given: asyncio.Queue[int]) -> AsyncGenerator[int, None]:
    while True:
        yield await given.get()


async def test_all_items_come_in_order_and_together_where_they_can() -> None:
    found = [bundle async for bundle in bundles(numbers(0, 5000), asyncio.Event(), 10)]
    assert [number for bundle in found for number in bundle] == list(range(5000))
    assert 1 < len(found) < 1000


async def test_nothing_for_a_while_is_an_empty_bundle() -> None:
    given: asyncio.Queue[int] = asyncio.Queue()
    coming = bundles(endless(given), asyncio.Event(), 0.01)
    assert await anext(coming) == []
    given.put_nowait(7)
    async with asyncio.timeout(30):
        while (bundle := await anext(coming)) == []:
            pass
    assert bundle == [7]
    await coming.aclose()


async def test_the_end_is_waited_for_by_nobody_and_what_is_there_comes_first() -> None:
    over, given = asyncio.Event(), asyncio.Queue[int]()
    coming = bundles(endless(given), over, 60)
    given.put_nowait(1)
    assert await anext(coming) == [1]
    given.put_nowait(2)
    for _ in range(3):
        await asyncio.sleep(0)
    over.set()
    assert [bundle async for bundle in coming] == [[2]]


async def test_who_leaves_has_the_items_closed() -> None:
    closed: list[bool] = []
    coming = bundles(numbers(0, 5000, closed), asyncio.Event(), 60)
    assert await anext(coming)
    await coming.aclose()
    assert closed == [True]


async def test_what_goes_wrong_in_the_items_is_raised_after_them() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError("gone")

    coming = bundles(broken(), asyncio.Event(), 60)
    assert await anext(coming) == [1]
    with pytest.raises(LookupError):
        await anext(coming)
