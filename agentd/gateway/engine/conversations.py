"""Sessions and messages: what clients do with conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from agentd.gateway.engine import steps
from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.escalation import continue_run
from agentd.gateway.engine.forks import plan_fork
from agentd.gateway.engine.new_session import plan_session
from agentd.gateway.engine.steps import NewRun
from agentd.gateway.engine.texts import check_text
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import (
    AgentNotReadyError,
    InvalidTransitionError,
    NotTheLastRunError,
)
from agentd.gateway.model.objects import EventType, Role, Run, Session
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewMessage, NewSession, SessionQuery
from agentd.gateway.model.results import Sent, SessionPage, SessionView
from agentd.gateway.model.states import RunStatus, SessionStatus
from agentd.gateway.store import runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.sessions import StoredSession

Also: TypeAlias = Callable[[Writer, Run], Awaitable[None]]
"""Writes more in the transaction that makes a run."""

AlsoOfSession: TypeAlias = Callable[[Writer, StoredSession], Awaitable[None]]
"""Writes more in the transaction that makes a session."""


log = structlog.get_logger(__name__)


class Conversations:
    """What clients do with sessions."""

    def __init__(self, core: Core, agents: Agents) -> None:
        self._core = core
        self._agents = agents

    async def create(
        self, caller: Caller, wanted: NewSession, once: Once | None = None, also: AlsoOfSession | None = None
    ) -> Session:
        """Make a session.

        Raises
        ------
        NotFoundError
            If no such agent is declared.
        InvalidRequestError
            If what is wanted contradicts itself, or the workdir is not in those that are allowed.
        """
        stored = await plan_session(self._core, caller, wanted)

        async def work(writer: Writer) -> None:
            await add_session(writer, stored)
            await steps.remember(writer, once, {"session": stored.session.json()}, stored.session.created_at)
            if also is not None:
                await also(writer, stored)

        await self._core.database.write(work)
        return stored.session

    async def fork(self, caller: Caller, run_id: str) -> Session:
        """Create a session that continues the conversation of a run from its end; the run's own is unchanged.

        Raises
        ------
        NotForkableError
            If that cannot be done.
        """
        stored = await plan_fork(self._core, caller, run_id)
        await self._core.database.write(lambda writer: add_session(writer, stored))
        return stored.session

    async def get(self, caller: Caller, session_id: str) -> SessionView:
        """Show a session."""
        async with self._core.database.read() as connection:
            stored = await steps.find_session(connection, caller, session_id)
            unfinished = [each.run for each in await runs.unfinished(connection, session_id)]
        active = next((run for run in unfinished if run.status.active), None)
        queued = tuple(run for run in unfinished if run.status is RunStatus.QUEUED)
        return SessionView(stored.session, active, queued)

    async def list(self, caller: Caller, query: SessionQuery) -> SessionPage:
        """List sessions, the newest first."""
        async with self._core.database.read() as connection:
            found = await sessions.page(connection, caller, query)
        shown = found[: query.limit]
        return SessionPage(tuple(shown), shown[-1].id if len(found) > query.limit else None)

    async def close(self, caller: Caller, session_id: str) -> Session:
        """Close a session: its runs are canceled and its agent withdrawn. Closing it again changes nothing."""

        async def work(writer: Writer) -> StoredSession:
            stored = await steps.find_session(writer.connection, caller, session_id)
            if stored.open:
                now = self._core.wall()
                unfinished = await runs.unfinished(writer.connection, session_id)
                await steps.cancel_tree(writer, unfinished, "the session was closed", now)
                status = SessionStatus.CLOSED.value
                await sessions.change(writer.connection, session_id, status=status, updated_at=now)
                await steps.emit(writer, stored, EventType.SESSION_CLOSED, {}, None, now)
            closed = await sessions.find(writer.connection, session_id)
            assert closed is not None
            return closed

        stored = await self._core.database.write(work)
        if stored.declared:
            try:
                await self._agents.withdraw(stored)
            except AgentNotReadyError as error:
                # It is closed; housekeeping tries that again.
                log.warning("agent_not_withdrawn", agent=stored.target, reason=str(error))
        return stored.session

    async def send_message(
        self,
        caller: Caller,
        session_id: str,
        message: NewMessage,
        once: Once | None = None,
        also: Also | None = None,
    ) -> Sent:
        """Take a message; one of a user makes a run, or continues the one that waits for its parent.

        Parameters
        ----------
        also
            Writes more in the same transaction; only called if a run is made.

        Raises
        ------
        NotTheLastRunError
            If ``message.expect_last_run`` is not the session's newest.
        QueueFullError
            If as many runs wait as may.
        InvalidTransitionError
            If the session is closed.
        """
        check_text("text", message.text)

        async def work(writer: Writer) -> Sent:
            stored = await steps.find_session(writer.connection, caller, session_id)
            await _check_last(writer, session_id, message.expect_last_run)
            sent = await self._take(writer, stored, message, None, also)
            await steps.remember(writer, once, sent, sent.message.created_at)
            return sent

        return await self._core.database.write(work)

    async def send(
        self, caller: Caller, session_id: str, text: str, from_run_id: str | None = None, once: Once | None = None
    ) -> Sent:
        """Take a message from a run in another session, sent as its parent, child or user, and create a run of it."""
        check_text("text", text)

        async def work(writer: Writer) -> Sent:
            stored = await steps.find_session(writer.connection, caller, session_id)
            role = Role.USER
            if from_run_id is not None:
                role = await self._relation(writer, caller, stored, from_run_id)
            sent = await self._take(writer, stored, NewMessage(text, role), from_run_id, None)
            await steps.remember(writer, once, sent, sent.message.created_at)
            return sent

        return await self._core.database.write(work)

    @staticmethod
    async def _relation(writer: Writer, caller: Caller, to: StoredSession, from_run_id: str) -> Role:
        sender = await steps.find_run(writer.connection, caller, from_run_id)
        if to.session.parent_session_id == sender.run.session_id:
            return Role.PARENT
        own = await sessions.find(writer.connection, sender.run.session_id)
        return Role.CHILD if own is not None and own.session.parent_session_id == to.id else Role.USER

    async def _take(
        self, writer: Writer, stored: StoredSession, message: NewMessage, from_run_id: str | None, also: Also | None
    ) -> Sent:
        if not stored.open:
            raise InvalidTransitionError(f"the session {stored.id} is closed; make another one")
        now = self._core.wall()
        speaks = from_run_id is not None or message.role is Role.USER
        if speaks or message.role is Role.PARENT:
            said = steps.message_of(stored, message.role, message.text, now, None)
            continued = await continue_run(writer, stored, said, now)
            if continued is not None:
                return Sent(continued.message, continued.run if speaks else None)
        if not speaks:
            said = steps.message_of(stored, message.role, message.text, now, None)
            return Sent(await steps.add_message(writer, stored, said), None)
        # What is said to a child later is canceled with its parent, too.
        parent = from_run_id if message.role is Role.PARENT else stored.session.parent_run_id
        new = NewRun(message.text, parent, self._timeout(message.timeout_s))
        queued = await steps.queue_run(writer, stored, new, self._core.options.max_queue, now)
        said = steps.message_of(stored, message.role, message.text, now, queued.id)
        await steps.add_message(writer, stored, said)
        if also is not None:
            await also(writer, queued.run)
        return Sent(said, queued.run)

    async def create_run(
        self, caller: Caller, session_id: str, prompt: str, timeout_s: float | None = None, once: Once | None = None
    ) -> Run:
        """Queue a run."""
        check_text("prompt", prompt)

        async def work(writer: Writer) -> Run:
            stored = await steps.find_session(writer.connection, caller, session_id)
            now = self._core.wall()
            new = NewRun(prompt, stored.session.parent_run_id, self._timeout(timeout_s))
            queued = await steps.queue_run(writer, stored, new, self._core.options.max_queue, now)
            await steps.add_message(writer, stored, steps.message_of(stored, Role.USER, prompt, now, queued.id))
            await steps.remember(writer, once, {"run": queued.run.json()}, now)
            return queued.run

        return await self._core.database.write(work)

    def _timeout(self, wanted: float | None) -> float | None:
        return self._core.options.turn_timeout if wanted is None else wanted


async def add_session(writer: Writer, stored: StoredSession) -> None:
    """Store a session."""
    await sessions.add(writer.connection, stored)
    session = stored.session
    await steps.emit(writer, stored, EventType.SESSION_CREATED, session.json(), None, session.created_at)


async def _check_last(writer: Writer, session_id: str, expected: str | None) -> None:
    if expected is None:
        return
    newest = await runs.newest(writer.connection, session_id)
    if newest is None or newest.id != expected:
        raise NotTheLastRunError(None if newest is None else newest.id)
