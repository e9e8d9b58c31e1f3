"""A new conversation of OpenCode, begun with the first message, and shown in the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.model.spec import ForkPoint
from agentd.turns.adapter import NotNowError, RefusedError, TurnsError
from agentd.turns.fields import text as text_of
from agentd.turns.opencode.events import Reader
from agentd.turns.opencode.fork import fork
from agentd.turns.opencode.messages import made_before
from agentd.turns.opencode.server import NoAnswerError, Server

_MADE: Final = 120.0
"""Seconds for the server to begin a conversation."""
_BEGUN: Final = 4.0
"""Seconds that a delivery waits for that; it is tried again then, and goes on with the same conversation."""
_SHOWN: Final = 8.0
"""Seconds to have it shown. With that before and what it takes to hand the message over, it is below what a delivery
may take."""


@dataclass(slots=True)
class Beginning:
    """Begins the conversation of a run.

    Parameters
    ----------
    reader
        Of the server's events.
    fork
        What is yet to be forked, before the first message.
    """

    reader: Reader
    fork: ForkPoint | None = None
    _making: asyncio.Task[str] | None = None
    """The conversation that is being begun, until it is shown."""

    def take_up_the_copy(self, said: Sequence[Mapping[str, object]], launched: float) -> None:
        """Go on with a copy that an agentd made of which it left no note: it has messages older than the process.

        Parameters
        ----------
        said
            The messages of the conversation.
        launched
            When the process began, in seconds since the epoch.
        """
        past = made_before(said, launched)
        if past:
            self.reader.past, self.fork = past, None

    async def begin(self, server: Server) -> str:
        """Begin a conversation, and have it shown.

        Raises
        ------
        NotNowError
            If it cannot yet: nothing was said in it. A starting OpenCode may not answer for 15 s on a loaded machine,
            and makes the conversation all the same: it is not asked for a second one.
        RefusedError
            If there is nothing to fork.
        """
        making = self._making
        if making is None:
            making = self._making = asyncio.create_task(self._make(server), name="a conversation of opencode")
        done, _ = await asyncio.wait([making], timeout=_BEGUN)
        if not done:
            raise NotNowError("opencode has not begun a conversation yet")
        try:
            session = making.result()
            await server.post("/tui/select-session", {"sessionID": session}, _SHOWN)
        except TurnsError as error:
            if making.exception() is not None or not isinstance(error, NoAnswerError):
                self._making = None
            if isinstance(error, RefusedError):
                raise
            raise NotNowError(str(error)) from error
        self.reader.session, self.fork, self._making = session, None, None
        return session

    async def _make(self, server: Server) -> str:
        if self.fork is not None:
            return await self._begin_with_fork(server, self.fork)
        session = text_of(await server.post("/session", {}, _MADE), "id")
        if not session:
            raise NotNowError("opencode made a conversation without an id")
        return session

    async def _begin_with_fork(self, server: Server, point: ForkPoint) -> str:
        """Fork a conversation; what is told of its making is no turn."""
        self.reader.deaf = True
        try:
            session, self.reader.past = await fork(server, point)
        finally:
            self.reader.deaf = False
        return session

    async def close(self) -> None:
        """Begin nothing any more."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])
