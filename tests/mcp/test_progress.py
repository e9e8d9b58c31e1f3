"""Telling a host that a call goes on."""

from __future__ import annotations

import asyncio

import pytest

from agentd.mcp import progress


async def test_a_call_of_any_tool_tells_that_it_goes_on_and_ends_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "TELL_EVERY", 0.01)
    told, ended = asyncio.Event(), asyncio.Event()

    async def tell(done: float, total: float | None, words: str | None) -> None:
        assert (done > 0, total, words) == (True, None, "waiting")
        told.set()

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    call = asyncio.create_task(progress.told_of(work(), tell))
    await told.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


async def test_what_a_call_raises_is_raised() -> None:
    async def tell(done: float, total: float | None, words: str | None) -> None:
        raise AssertionError(done, total, words)

    async def work() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await progress.told_of(work(), tell)
