"""The engine of the gateway: what clients may do, and the tasks that carry it out.

Every operation is whole or absent: its writes are one transaction. It may be cancelled at any time. What a caller does
not own does not exist for it: `NotFoundError`. All errors are `agentd.gateway.model.errors.GatewayError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import structlog

from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.confirmations import Confirmations
from agentd.gateway.engine.conversations import Also, Conversations
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.family import Family
from agentd.gateway.engine.following import Followers
from agentd.gateway.engine.happenings import Answers, Happenings
from agentd.gateway.engine.hiring import Hiring
from agentd.gateway.engine.housekeeping import Housekeeping
from agentd.gateway.engine.inbox import Inbox
from agentd.gateway.engine.managed import Managed
from agentd.gateway.engine.manager import Manager
from agentd.gateway.engine.new_session import agents_for, hidden_agents
from agentd.gateway.engine.options import EngineOptions
from agentd.gateway.engine.runs import Runs
from agentd.gateway.engine.scheduler import Scheduler
from agentd.gateway.engine.status import Status
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Event, EventType, RequestKind, Run, Session
from agentd.gateway.model.once import Once, Recorded
from agentd.gateway.model.requests import Hire, NewChild, NewMessage, NewSession, RunQuery, SessionQuery
from agentd.gateway.model.results import (
    Canceled,
    DaemonStatus,
    DeclaredAgent,
    Diagnosis,
    EventPage,
    Hired,
    Reply,
    RunPage,
    Sent,
    SessionPage,
    SessionView,
    Spawned,
    Waited,
)
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store.database import Database

log = structlog.get_logger(__name__)


class Engine:
    """All of it.

    Every operation that makes something takes ``once``, the request's idempotency key: the answer, as routes give it
    with status 201, is stored in the same transaction. `KeyTakenError` if another request with it was the first.

    Parameters
    ----------
    database
        Open, and of the newest schema.
    """

    def __init__(self, options: EngineOptions, database: Database) -> None:
        core = Core.of(options, database)
        self.options = options
        self.database = database
        self.agentd = core.agentd
        self._core = core
        self._agents = Agents(core)
        self._conversations = Conversations(core, self._agents)
        self._runs = Runs(core)
        self._family = Family(core)
        self._happenings = Happenings(core)
        self._status = Status(core)
        self.confirmations = Confirmations(core)
        """What managed agents wait to be confirmed."""
        self.inbox = Inbox(core, self._conversations, self._runs, self.confirmations)
        """What comes by channels."""
        self.managed = Managed(core)
        """The agents that users make."""
        self._followers = Followers(core, self.managed, self.confirmations)
        self._answers = Answers(core)
        self._scheduler = Scheduler(core, self._agents)
        self._hiring = Hiring(core)
        self._housekeeping = Housekeeping(core, self._agents, Manager(core))
        database.committed = self._committed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start queued runs and follow those at work while the context is open; turns go on after it."""
        tasks = [
            asyncio.create_task(self._scheduler.run(), name="scheduler"),
            asyncio.create_task(self._housekeeping.run(), name="housekeeping"),
            asyncio.create_task(self.confirmations.run(), name="confirmations"),
            asyncio.create_task(self.managed.run(), name="managed agents"),
            asyncio.create_task(self._followers.run(), name="followers"),
        ]
        for task in tasks:
            task.add_done_callback(_say_why)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.close()

    async def close(self) -> None:
        """Close what an engine opens that is not running."""
        await self._core.close()

    def _committed(self, events: list[tuple[Event, str | None]]) -> None:
        self._core.feed.publish(events)
        self._scheduler.take(events)
        if any(event.event_type is EventType.RUN_STARTED for event, _ in events):
            # It may be the first in a conversation by a managed agent's definition.
            self._followers.look()

    # -- agents

    async def hidden_agents(self, caller: Caller) -> frozenset[str]:
        """Give agentd's names, in lower case, of the agents of users that a caller does not see."""
        return await hidden_agents(self._core, caller)

    async def agents(self, caller: Caller) -> tuple[DeclaredAgent, ...]:
        """List the agents that are declared and a caller sees, but those that hold sessions, by name.

        Raises
        ------
        AgentNotReadyError
            If it cannot be read which there are.
        """
        agents = (await agents_for(self._core, caller)).values()
        return tuple(
            DeclaredAgent(spec.name, spec.harness, self._core.definitions.since(spec.source))
            for spec in sorted(agents, key=lambda spec: spec.name)
        )

    async def hire(self, caller: Caller, wanted: Hire) -> Hired:
        """Declare an agent of a role unless it is, and wait until it runs.

        Raises
        ------
        InvalidRequestError
            If a name or the harness cannot be used.
        ExistsError
            If somebody else hired one of that name.
        AgentNotReadyError
            If it cannot be declared, or does not run in time.
        """
        return await self._hiring.hire(caller, wanted)

    # -- sessions

    async def create_session(self, caller: Caller, wanted: NewSession, once: Once | None = None) -> Session:
        """Make a session.

        Raises
        ------
        NotFoundError
            If no such agent is declared.
        InvalidRequestError
            If what is wanted contradicts itself, or the workdir is not in those that are allowed.
        """
        return await self._conversations.create(caller, wanted, once)

    async def fork(self, caller: Caller, run_id: str) -> Session:
        """Make a session whose conversation goes on from the end of a run; the run's own stays as it is.

        Raises
        ------
        NotForkableError
            If that cannot be done.
        """
        return await self._conversations.fork(caller, run_id)

    async def get_session(self, caller: Caller, session_id: str) -> SessionView:
        """Show a session."""
        return await self._conversations.get(caller, session_id)

    async def list_sessions(self, caller: Caller, query: SessionQuery) -> SessionPage:
        """List sessions, the newest first."""
        return await self._conversations.list(caller, query)

    async def close_session(self, caller: Caller, session_id: str) -> Session:
        """Close a session: its runs are canceled and its agent withdrawn. Closing it again changes nothing."""
        return await self._conversations.close(caller, session_id)

    # -- messages

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
        return await self._conversations.send_message(caller, session_id, message, once, also)

    async def send(
        self, caller: Caller, session_id: str, text: str, from_run_id: str | None = None, once: Once | None = None
    ) -> Sent:
        """Take a message from a run in another session, as its parent's, its child's or a user's; it makes a run."""
        return await self._conversations.send(caller, session_id, text, from_run_id, once)

    # -- runs

    async def create_run(
        self, caller: Caller, session_id: str, prompt: str, timeout_s: float | None = None, once: Once | None = None
    ) -> Run:
        """Queue a run."""
        return await self._conversations.create_run(caller, session_id, prompt, timeout_s, once)

    async def get_run(self, caller: Caller, run_id: str) -> Run:
        """Show a run."""
        return await self._runs.get(caller, run_id)

    async def list_runs(self, caller: Caller, query: RunQuery) -> RunPage:
        """List runs, the newest first."""
        return await self._runs.list(caller, query)

    async def wait_run(self, caller: Caller, run_id: str, timeout_s: float) -> Waited:
        """Wait until a run is over, or for so many seconds."""
        return await self._runs.wait(caller, run_id, timeout_s)

    async def transition(self, caller: Caller, run_id: str, to: RunStatus, reason: str | None = None) -> Run:
        """Put a run into another state; one that is ended so is interrupted, and ``canceled`` is as `cancel`.

        Raises
        ------
        InvalidTransitionError
            If that may not follow.
        """
        return await self._runs.transition(caller, run_id, to, reason)

    async def cancel(self, caller: Caller, run_id: str, reason: str | None = None) -> Canceled:
        """Cancel a run and, from the children of its runs down, all that it spawned. Canceling again changes nothing.

        It is ``canceled`` when this returns; its agent is interrupted in the background, and free after that.

        Raises
        ------
        InvalidTransitionError
            If it has ended in another way.
        """
        return await self._runs.cancel(caller, run_id, reason)

    async def answer(self, caller: Caller, run_id: str, request_id: str, decision: str, text: str | None = None) -> Run:
        """Answer what the agent asked for: ``allow``, ``deny`` or ``allow_always``.

        ``allow_always`` allows the very same thing from then on, in this session. To a question, ``allow`` answers with
        the text.

        Raises
        ------
        NotFoundError
            If the run has no such request.
        InvalidTransitionError
            If it is decided.
        AgentdUnreachableError
            If agentd does not answer.
        """
        return await self._runs.answer(caller, run_id, request_id, decision, text)

    # -- children

    async def spawn_from_run(self, caller: Caller, run_id: str, child: NewChild, once: Once | None = None) -> Spawned:
        """Have another agent do a task, in a session of its own."""
        return await self._family.spawn_from_run(caller, run_id, child, once)

    async def spawn_from_session(
        self, caller: Caller, session_id: str, child: NewChild, once: Once | None = None
    ) -> Spawned:
        """As `spawn_from_run`, for the run at work in a session, if there is any."""
        return await self._family.spawn_from_session(caller, session_id, child, once)

    async def reply_parent(
        self, caller: Caller, run_id: str, text: str, request_kind: RequestKind, once: Once | None = None
    ) -> Reply:
        """Say something to the session that spawned a run's; a request makes the run wait for what is sent to it.

        Raises
        ------
        NoParentError
            If none did.
        """
        return await self._family.reply_parent(caller, run_id, text, request_kind, once)

    # -- what happens

    async def events(self, caller: Caller, session_id: str, cursor: int = 0, limit: int = 100) -> EventPage:
        """List a session's events after a cursor."""
        return await self._happenings.page(caller, session_id, cursor, limit)

    def follow(self, caller: Caller, session_id: str | None, cursor: int) -> AsyncGenerator[Event, None]:
        """Give the events after a cursor, of a session or of all that the caller sees, and those to come.

        In order, none twice and none lost. Raises `NotFoundError` with the first one.
        """
        return self._happenings.follow(caller, session_id, cursor)

    async def last_cursor(self) -> int:
        """Give the cursor of the newest event, from which only those to come follow."""
        return await self._happenings.last_cursor()

    # -- how it does

    async def diagnose(self, caller: Caller, run_id: str) -> Diagnosis:
        """Say what is known of a run that may be stuck."""
        return await self._status.diagnose(caller, run_id)

    async def daemon_status(self) -> DaemonStatus:
        """Say how the gateway does."""
        return await self._status.daemon()

    async def agentd_reachable(self) -> bool:
        """Whether agentd answers."""
        return await self.agentd.reachable()

    # -- idempotency

    async def recall(self, once: Once) -> Recorded | None:
        """Give what the first request with this key was answered."""
        return await self._answers.recall(once)

    async def remember(self, once: Once, status: int, body: bytes) -> None:
        """Keep what a request was answered that made nothing.

        Raises
        ------
        KeyTakenError
            If another one was the first.
        """
        await self._answers.remember(once, Recorded(once.fingerprint, status, body))


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task_ended", task=task.get_name(), exc_info=error)
