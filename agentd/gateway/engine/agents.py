"""The agents that hold sessions: declared when they are needed, withdrawn when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

from agentd.gateway.engine.core import Core
from agentd.gateway.model.errors import AgentNotReadyError
from agentd.gateway.store import runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.sessions import StoredSession
from agentd.gateway.talk.declare import DeclareError
from agentd.gateway.talk.definitions import DefinitionsError
from agentd.gateway.talk.session_table import SessionAgent, by_definition, by_harness
from agentd.jcard.edit.writing import TomlValue


class Agents:
    """Declares and withdraws them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Each is there as long as somebody has it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def _alone(self, session_id: str) -> AsyncIterator[None]:
        """Keep others from declaring or withdrawing the agent of a session meanwhile."""
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            yield

    async def ensure(self, session: StoredSession) -> None:
        """Declare the agent of a session, if it is not, or not as its definition is now.

        Raises
        ------
        AgentNotReadyError
            If that cannot be done, or the session is closed by now.
        """
        if not session.own:
            return
        table = await self._table(session)
        async with self._alone(session.id):
            # First in the database: a drop-in that it knows nothing of would never be withdrawn.
            await self._core.database.write(lambda writer: _note_declared(writer, session.id), lasting=False)
            try:
                await self._core.declarations.declare(session.session.owner, table)
            except DeclareError as error:
                raise AgentNotReadyError(str(error)) from error

    async def _table(self, session: StoredSession) -> dict[str, TomlValue]:
        shown = session.session
        own = SessionAgent(session.target, shown.tmux_session, fork_from=session.fork_from)
        if shown.agent is None:
            return by_harness(shown.harness, replace(own, workdir=Path(shown.workdir)))
        try:
            spec = (await self._core.definitions.agents()).get(shown.agent.lower())
        except DefinitionsError as error:
            raise AgentNotReadyError(f"it cannot be read which agents are declared: {error}") from error
        if spec is None:
            raise AgentNotReadyError(f"the agent {shown.agent} is not declared any more")
        if session.elsewhere:
            own = replace(own, workdir=Path(shown.workdir))
        return by_definition(spec, own)

    async def withdraw(self, session: StoredSession, *, idle_only: bool = False) -> None:
        """Declare the agent of a session no more; its conversation is resumed once it is declared again.

        Parameters
        ----------
        idle_only
            Only if it has nothing to do.
        """
        if not session.own:
            return
        async with self._alone(session.id):
            if idle_only:
                async with self._core.database.read() as connection:
                    if await runs.unfinished(connection, session.id):
                        return
            try:
                await self._core.declarations.withdraw(session.session.owner, session.target)
            except DeclareError as error:
                raise AgentNotReadyError(str(error)) from error
            await self._core.database.write(
                lambda writer: sessions.change(writer.connection, session.id, declared=False), lasting=False
            )


async def _note_declared(writer: Writer, session_id: str) -> None:
    """Note that there is a drop-in; who closes the session then removes it, and one that is closed gets none."""
    now = await sessions.find(writer.connection, session_id)
    if now is None or not now.open:
        raise AgentNotReadyError("the session was closed meanwhile")
    if not now.declared:
        await sessions.change(writer.connection, session_id, declared=True)
