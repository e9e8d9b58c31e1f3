"""Answers of a host's agentd that are read in pieces, by calls that end soon each."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import structlog

from agentd.fleet.passing import Told

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_MOMENT: Final = 1.0
"""Seconds that a reader waits for something."""

_UNREAD: Final = 60.0
"""Seconds after which nobody reads an answer any more."""

_AHEAD: Final = 64
"""Pieces that are kept for a reader."""


@dataclass(slots=True)
class _Answer:
    parts: asyncio.Queue[Told | None] = field(default_factory=lambda: asyncio.Queue(_AHEAD))
    read_at: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None


class OpenAnswers:
    """Those that are under way, by a key each; all of it in one event loop."""

    def __init__(self) -> None:
        self._open: dict[str, _Answer] = {}

    async def open(self, parts: AsyncGenerator[Told, None]) -> str:
        """Begin to keep an answer."""
        key, answer = uuid.uuid4().hex, _Answer()
        self._open[key] = answer
        answer.task = asyncio.create_task(self._keep(answer, parts))
        return key

    async def read(self, key: str) -> list[Told | None]:
        """Give the next pieces; none if none come for a moment, ``None`` as the last of all."""
        answer = self._open.get(key)
        if answer is None:
            return [None]
        answer.read_at = time.monotonic()
        try:
            async with asyncio.timeout(_MOMENT):
                found = [await answer.parts.get()]
        except TimeoutError:
            return []
        while not answer.parts.empty():
            found.append(answer.parts.get_nowait())
        if found[-1] is None:
            self.drop(key)
        return found

    def drop(self, key: str) -> None:
        """End an answer."""
        answer = self._open.pop(key, None)
        if answer is not None and answer.task is not None:
            answer.task.cancel()

    async def _keep(self, answer: _Answer, parts: AsyncGenerator[Told, None]) -> None:
        try:
            async with contextlib.aclosing(parts):
                async for part in parts:
                    if time.monotonic() > answer.read_at + _UNREAD:
                        break
                    await self._put(answer, part)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _log.warning("answer_broke_off", reason=str(error) or type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await self._put(answer, None)
            # Whoever reads the end drops the answer; without a reader nobody would.
            while (left := answer.read_at + _UNREAD - time.monotonic()) > 0:  # noqa: ASYNC110 (each read moves it)
                await asyncio.sleep(left)
        self._open = {key: each for key, each in self._open.items() if each is not answer}

    async def _put(self, answer: _Answer, part: Told | None) -> None:
        async with asyncio.timeout(_UNREAD):
            await answer.parts.put(part)
