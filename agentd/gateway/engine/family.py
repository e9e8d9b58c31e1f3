"""Spawning children, and what they say to their parents."""

from __future__ import annotations

from agentd.gateway.engine import steps
from agentd.gateway.engine.conversations import add_session
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.escalation import Escalated, escalate
from agentd.gateway.engine.new_session import Parent, plan_session
from agentd.gateway.engine.steps import NewRun
from agentd.gateway.engine.texts import check_text
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import InvalidTransitionError
from agentd.gateway.model.objects import EventType, JsonObject, RequestKind, Role, Session
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewChild, NewSession
from agentd.gateway.model.results import Reply, Spawned
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.sessions import StoredSession


class Family:
    """What runs do with their children and their parents."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def spawn_from_run(self, caller: Caller, run_id: str, child: NewChild, once: Once | None = None) -> Spawned:
        """Have another agent do a task, in a session of its own."""
        async with self._core.database.read() as connection:
            stored = await steps.find_run(connection, caller, run_id)
            session = await steps.find_session(connection, caller, stored.run.session_id)
        if stored.status.terminal and stored.status is not RunStatus.SUCCEEDED:
            # Whoever canceled it wants none of its children.
            raise InvalidTransitionError(f"the run {run_id} is {stored.status}, and spawns nothing any more")
        return await self._spawn(caller, session, run_id, child, once)

    async def spawn_from_session(
        self, caller: Caller, session_id: str, child: NewChild, once: Once | None = None
    ) -> Spawned:
        """As `spawn_from_run`, for the run at work in a session, if there is any."""
        async with self._core.database.read() as connection:
            session = await steps.find_session(connection, caller, session_id)
            unfinished = await runs.unfinished(connection, session_id)
        active = next((each.id for each in unfinished if each.status.active), None)
        return await self._spawn(caller, session, active, child, once)

    async def _spawn(
        self, caller: Caller, parent: StoredSession, run_id: str | None, child: NewChild, once: Once | None
    ) -> Spawned:
        check_text("task", child.task)
        if not parent.open:
            raise InvalidTransitionError(f"the session {parent.id} is closed; make another one")
        owner = parent.session.owner
        wanted = _like(parent.session, child)
        stored = await plan_session(self._core, caller, wanted, Parent(parent.id, run_id, owner))

        async def work(writer: Writer) -> Spawned:
            now = stored.session.created_at
            await add_session(writer, stored)
            new = NewRun(child.task, run_id, self._core.options.turn_timeout)
            queued = await steps.queue_run(writer, stored, new, self._core.options.max_queue, now)
            message = steps.message_of(stored, Role.PARENT, child.task, now, queued.id)
            await steps.add_message(writer, stored, message)
            data: JsonObject = {"child_session_id": stored.id, "child_run_id": queued.id, "task": child.task}
            await steps.emit(writer, parent, EventType.CHILD_SPAWNED, data, run_id, now)
            spawned = Spawned(stored.session, queued.run, message)
            await steps.remember(writer, once, spawned, now)
            return spawned

        return await self._core.database.write(work)

    async def reply_parent(
        self, caller: Caller, run_id: str, text: str, request_kind: RequestKind, once: Once | None = None
    ) -> Reply:
        """Say something to the session that spawned a run's; a request makes the run wait for what is sent to it.

        Raises
        ------
        NoParentError
            If none did.
        """
        check_text("text", text)

        async def work(writer: Writer) -> Reply:
            stored = await steps.find_run(writer.connection, caller, run_id)
            session = await sessions.find(writer.connection, stored.run.session_id)
            assert session is not None, "sessions are removed with their runs"
            now = self._core.wall()
            reply = await escalate(writer, session, stored, Escalated(request_kind, text), now)
            await steps.remember(writer, once, reply, now)
            return reply

        return await self._core.database.write(work)


def _like(parent: Session, child: NewChild) -> NewSession:
    """Say which session a child is to have: as its parent's, unless it says more."""
    if child.agent is not None or child.harness is not None:
        return NewSession(agent=child.agent, harness=child.harness, workdir=child.workdir)
    if parent.agent is not None:
        return NewSession(agent=parent.agent, workdir=child.workdir)
    return NewSession(harness=parent.harness, workdir=child.workdir or parent.workdir)
