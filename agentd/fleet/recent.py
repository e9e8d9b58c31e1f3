"""An answer that several may share who ask within a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Asks again only once the last answer is too old.

    Parameters
    ----------
    ask
        Gives the answer.
    age
        Seconds that an answer may be old.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], age: float) -> None:
        self._ask, self._age = ask, age
        self._asking = asyncio.Lock()
        self._found: tuple[float, T] | None = None

    async def get(self) -> T:
        """Give the answer; raises what asking does."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if self._found is None or now > self._found[0] + self._age:
                self._found = now, await self._ask()
            return self._found[1]
