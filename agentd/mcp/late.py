"""What is made when it is first used: a host waits for the list of tools, and needs little of what they work with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from agentd.files.worker import in_thread

T = TypeVar("T")


class Late(Generic[T]):
    """Something that is made once, in a thread, so that importing what it needs holds nobody up.

    Parameters
    ----------
    make
        Imports and makes it; where several need it at once, it may be called by each.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []

    async def get(self) -> T:
        """Give it."""
        if not self._made:
            self._made.append(await in_thread("mcp-import", self._make))
        return self._made[0]
