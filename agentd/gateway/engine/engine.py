"""The engine of the gateway: what clients may do, and the tasks that carry it out.

Every operation is whole or absent: its writes are one transaction. It may be cancelled at any time. What a caller does
not own does not exist for it: `NotFoundError`. All errors are `agentd.gateway.model.errors.GatewayError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from agentd.gateway.engine.options import EngineOptions
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Event, RequestKind, Run, Session
from agentd.gateway.model.once import Once, Recorded
from agentd.gateway.model.requests import NewChild, NewMessage, NewSession, RunQuery, SessionQuery
from agentd.gateway.model.results import (
    Canceled,
    DaemonStatus,
    Diagnosis,
    EventPage,
    Reply,
    RunPage,
    Sent,
    SessionPage,
    SessionView,
    Spawned,
    Waited,
)
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store.database import Database, Writer

Also: TypeAlias = Callable[[Writer, Run], Awaitable[None]]
"""Writes more in the transaction that makes a run."""


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
        self.options = options
        self.database = database

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start queued runs and follow those at work while the context is open; turns go on after it."""
        yield

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
        raise NotImplementedError

    async def get_session(self, caller: Caller, session_id: str) -> SessionView:
        """Show a session."""
        raise NotImplementedError

    async def list_sessions(self, caller: Caller, query: SessionQuery) -> SessionPage:
        """List sessions, the newest first."""
        raise NotImplementedError

    async def close_session(self, caller: Caller, session_id: str) -> Session:
        """Close a session: its runs are canceled and its agent withdrawn. Closing it again changes nothing."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def send(
        self, caller: Caller, session_id: str, text: str, from_run_id: str | None = None, once: Once | None = None
    ) -> Sent:
        """Take a message from a run in another session, as its parent's, its child's or a user's; it makes a run."""
        raise NotImplementedError

    # -- runs

    async def create_run(
        self, caller: Caller, session_id: str, prompt: str, timeout_s: float | None = None, once: Once | None = None
    ) -> Run:
        """Queue a run."""
        raise NotImplementedError

    async def get_run(self, caller: Caller, run_id: str) -> Run:
        """Show a run."""
        raise NotImplementedError

    async def list_runs(self, caller: Caller, query: RunQuery) -> RunPage:
        """List runs, the newest first."""
        raise NotImplementedError

    async def wait_run(self, caller: Caller, run_id: str, timeout_s: float) -> Waited:
        """Wait until a run is over, or for so many seconds."""
        raise NotImplementedError

    async def transition(self, caller: Caller, run_id: str, to: RunStatus, reason: str | None = None) -> Run:
        """Put a run into another state; one that is ended so is interrupted, and ``canceled`` is as `cancel`.

        Raises
        ------
        InvalidTransitionError
            If that may not follow.
        """
        raise NotImplementedError

    async def cancel(self, caller: Caller, run_id: str, reason: str | None = None) -> Canceled:
        """Cancel a run and, from the children of its runs down, all that it spawned. Canceling again changes nothing.

        It is ``canceled`` when this returns; its agent is interrupted in the background, and free after that.

        Raises
        ------
        InvalidTransitionError
            If it has ended in another way.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    # -- children

    async def spawn_from_run(self, caller: Caller, run_id: str, child: NewChild, once: Once | None = None) -> Spawned:
        """Have another agent do a task, in a session of its own."""
        raise NotImplementedError

    async def spawn_from_session(
        self, caller: Caller, session_id: str, child: NewChild, once: Once | None = None
    ) -> Spawned:
        """As `spawn_from_run`, for the run at work in a session, if there is any."""
        raise NotImplementedError

    async def reply_parent(
        self, caller: Caller, run_id: str, text: str, request_kind: RequestKind, once: Once | None = None
    ) -> Reply:
        """Say something to the session that spawned a run's; a request makes the run wait for what is sent to it.

        Raises
        ------
        NoParentError
            If none did.
        """
        raise NotImplementedError

    # -- what happens

    async def events(self, caller: Caller, session_id: str, cursor: int = 0, limit: int = 100) -> EventPage:
        """List a session's events after a cursor."""
        raise NotImplementedError

    def follow(self, caller: Caller, session_id: str | None, cursor: int) -> AsyncIterator[Event]:
        """Give the events after a cursor, of a session or of all that the caller sees, and those to come.

        In order, none twice and none lost. Raises `NotFoundError` with the first one.
        """
        raise NotImplementedError

    async def last_cursor(self) -> int:
        """Give the cursor of the newest event, from which only those to come follow."""
        raise NotImplementedError

    # -- how it does

    async def diagnose(self, caller: Caller, run_id: str) -> Diagnosis:
        """Say what is known of a run that may be stuck."""
        raise NotImplementedError

    async def daemon_status(self) -> DaemonStatus:
        """Say how the gateway does."""
        raise NotImplementedError

    async def agentd_reachable(self) -> bool:
        """Whether agentd answers."""
        raise NotImplementedError

    # -- idempotency

    async def recall(self, once: Once) -> Recorded | None:
        """Give what the first request with this key was answered."""
        raise NotImplementedError

    async def remember(self, once: Once, status: int, body: bytes) -> None:
        """Keep what a request was answered that made nothing.

        Raises
        ------
        KeyTakenError
            If another one was the first.
        """
        raise NotImplementedError
