"""What is wanted of a program that posts to the socket for hooks: one post of it is held until there is something."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Wish:
    """Something for the program to do."""

    document: Mapping[str, object]
    handed: asyncio.Future[None]
    """Over once it was handed over."""


@dataclass(slots=True)
class Wishes:
    """What is wanted of one program, in order."""

    _waiting: deque[_Wish] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> bytes:
        """The answer to the post that is held: what is wanted next, once something is."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        wish = self._waiting.popleft()
        if not wish.handed.done():
            wish.handed.set_result(None)
        return json.dumps(wish.document).encode()

    async def hand(self, document: Mapping[str, object]) -> None:
        """Have the program do something; returns once it was handed over, and takes it back if that is cancelled."""
        wish = _Wish(document, asyncio.get_running_loop().create_future())
        self._waiting.append(wish)
        self._news.set()
        try:
            await wish.handed
        finally:
            if wish in self._waiting:
                self._waiting.remove(wish)
