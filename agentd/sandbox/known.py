"""What sandboxes of one kind are made with, looked for again where the last look is old."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.spec import SandboxKind
from agentd.sandbox.engines import Engine, Where, look
from agentd.sandbox.support import SandboxError

_KEPT: Final = 5.0
"""Seconds that the answer to whether sandboxes can be made is taken for granted."""


class KnownEngine:
    """Looks once for all who ask at a time.

    Parameters
    ----------
    kind
        ``None`` for the first that there is.
    """

    def __init__(self, kind: SandboxKind | None, where: Where) -> None:
        self._kind = kind
        self._where = where
        self._known: tuple[float, Engine | SandboxError] | None = None
        self._look: asyncio.Task[None] | None = None

    @property
    def known(self) -> Engine | None:
        """What was found last; ``None`` if nothing was."""
        found = None if self._known is None else self._known[1]
        return None if isinstance(found, SandboxError) else found

    async def get(self) -> Engine:
        """Find out what sandboxes are made with.

        Raises
        ------
        SandboxError
            If none can be made.
        """
        if self._known is None or time.monotonic() - self._known[0] > _KEPT:
            if self._look is None:
                self._look = asyncio.create_task(self._look_again(), name="whether sandboxes can be made")
            # An agent that no longer waits does not end the others' look.
            await asyncio.shield(self._look)
        assert self._known is not None
        _, found = self._known
        if isinstance(found, SandboxError):
            raise SandboxError(str(found))
        return found

    async def _look_again(self) -> None:
        found: Engine | SandboxError
        try:
            found = await in_thread("sandbox", partial(look, self._kind, self._where))
        except SandboxError as error:
            found = error
        self._known = time.monotonic(), found
        self._look = None
