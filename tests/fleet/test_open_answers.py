"""Answers that are read in pieces, by calls that end soon each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from agentd.fleet.open_answers import OpenAnswers
from agentd.fleet.passing import Head, Told
from tests.support.waiting import until


async def numbers(end: int, ended: list[str]) -> AsyncGenerator[Told, None]:
    try:
        yield Head(200, {})
        for number in range(end):
            yield b"%d" % number
        if end < 0:
            await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def test_an_answer_is_read_in_order_and_to_its_end() -> None:
    answers, ended = OpenAnswers(), list[str]()
    key = await answers.open(numbers(200, ended))
    read: list[Told | None] = []
    while not read or read[-1] is not None:
        read += await answers.read(key)
    assert read == [Head(200, {}), *(b"%d" % number for number in range(200)), None]
    assert ended == ["ended"]
    assert await answers.read(key) == [None]


async def test_a_reader_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.fleet.open_answers._MOMENT", 0.01)
    answers, ended = OpenAnswers(), list[str]()
    key = await answers.open(numbers(-1, ended))
    assert await answers.read(key) == [Head(200, {})]
    assert await answers.read(key) == []
    answers.drop(key)
    await until(lambda: ended)
    assert await answers.read(key) == [None]


async def test_what_nobody_reads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.fleet.open_answers._UNREAD", 0.02)
    answers, ended = OpenAnswers(), list[str]()
    key = await answers.open(numbers(1000, ended))
    await until(lambda: ended)
    await until(lambda: key not in answers._open)


async def test_a_short_one_that_nobody_reads_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.fleet.open_answers._UNREAD", 0.02)
    answers, ended = OpenAnswers(), list[str]()
    key = await answers.open(numbers(1, ended))
    await until(lambda: ended)
    await until(lambda: key not in answers._open)


async def broken() -> AsyncGenerator[Told, None]:
    yield Head(200, {})
    raise ConnectionResetError("gone")


async def test_one_that_breaks_off_ends() -> None:
    answers = OpenAnswers()
    key = await answers.open(broken())
    read: list[Told | None] = []
    while not read or read[-1] is not None:
        read += await answers.read(key)
    assert read == [Head(200, {}), None]
