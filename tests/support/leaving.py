"""A client that goes away before it is answered, and a server that finds it when it writes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.support.waiting import until


@dataclass
class LateWrite:
    """A route whose ``100 Continue`` comes when the client has gone."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    def route(self) -> web.RouteDef:
        return web.put("/late", self._answer, expect_handler=self._expected)

    async def leave(self, path: Path) -> None:
        """Ask, go away, and wait until the server has found it."""
        async with asyncio.timeout(30):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b"PUT /late HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            await self.asked.wait()
            writer.close()
            await writer.wait_closed()
            await self.written.wait()

    async def _expected(self, request: web.Request) -> None:
        self.asked.set()
        await until(lambda: request.transport is None)
        self.written.set()
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response()
