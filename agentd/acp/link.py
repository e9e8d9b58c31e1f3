"""The way to agentd and back: hooks, one request a connection, one of which waits for what agentd wants.

agentd may be absent at any time, and another one may come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from agentd.acp.outbox import JsonObject, Outbox
from agentd.turns.hook_command import LONGEST_HOLD
from agentd.turns.hook_command import PATH as HOOK_PATH

_GATHER: Final = 0.04
"""Seconds in which events are gathered: pieces of an answer come by the hundred; agentd takes 200 hooks a second."""
_ANSWER_LIMIT: Final = 10.0
_LONGEST_ANSWER: Final = 4 << 20
_RETRY: Final = (0.1, 0.3, 1.0)
"""Seconds between attempts; the last again and again."""


class _FailedError(Exception):
    """agentd is not there, or did not take it."""


@dataclass(slots=True)
class Link:
    """Posts what waits in the outbox, and takes what agentd wants."""

    socket: str
    outbox: Outbox
    take: Callable[[JsonObject], None]
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: asyncio.Event = field(default_factory=asyncio.Event)

    def nudge(self) -> None:
        """Something waits to be told; the first time, the conversation has begun."""
        self._begun.set()
        self._news.set()

    async def tell(self) -> None:
        """Tell, until cancelled."""
        failures = 0
        while True:
            if not self.outbox.pending:
                self._news.clear()
                await self._news.wait()
                await asyncio.sleep(_GATHER)
            try:
                await self.flush()
            except _FailedError:
                await asyncio.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
                failures += 1
            else:
                failures = 0
                await asyncio.sleep(_GATHER)

    async def last_words(self, limit: float) -> None:
        """Tell all that waits, as far as agentd is there and takes it in time."""
        with contextlib.suppress(TimeoutError, _FailedError):
            async with asyncio.timeout(limit):
                while self.outbox.pending:
                    await self.flush()

    async def flush(self) -> None:
        """Tell one batch.

        Raises
        ------
        _FailedError
            If it was not taken.
        """
        try:
            async with asyncio.timeout(_ANSWER_LIMIT):
                answer = await self._post("events", self.outbox.batch())
        except TimeoutError:
            raise _FailedError from None
        if answer.get("unknown") is True:
            self.outbox.unknown(answer.get("turn"))
        else:
            self.outbox.taken()

    async def listen(self) -> None:
        """Take what agentd wants, until cancelled."""
        await self._begun.wait()
        failures = 0
        while True:
            try:
                async with asyncio.timeout(LONGEST_HOLD):
                    answer = await self._post("next", b"{}")
            except TimeoutError:
                continue
            except _FailedError:
                await asyncio.sleep(_RETRY[min(failures, len(_RETRY) - 1)])
                failures += 1
                continue
            failures = 0
            if answer.get("unknown") is True:
                # It may have been told meanwhile: the next batch shows it.
                self.outbox.unsure = True
                self.nudge()
                await asyncio.sleep(_RETRY[0])
            elif answer:
                self.take(answer)
            else:
                # An agentd that watches this run no more.
                await asyncio.sleep(_RETRY[-1])

    async def _post(self, hook: str, body: bytes) -> JsonObject:
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=_LONGEST_ANSWER)
            head = f"POST {HOOK_PATH}{hook} HTTP/1.1\r\nHost: agentd\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            said = await reader.read(_LONGEST_ANSWER)
            while said and (more := await reader.read(_LONGEST_ANSWER)):
                said += more
        except OSError as error:
            raise _FailedError from error
        finally:
            if writer is not None:
                writer.transport.abort()
        status, _, answer = said.partition(b"\r\n\r\n")
        if status.split()[1:2] != [str(HTTPStatus.OK.value).encode()]:
            raise _FailedError
        try:
            found: object = json.loads(answer or b"{}")
        except ValueError as error:
            raise _FailedError from error
        return found if isinstance(found, dict) else {}
