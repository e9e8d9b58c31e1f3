"""Sessions in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Session
from agentd.gateway.model.requests import SessionQuery
from agentd.gateway.model.states import SessionStatus
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import SESSIONS

_T = SESSIONS.c


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session, and what clients are not shown of it."""

    session: Session
    target: str
    """Name of the agent that holds the conversation."""
    own: bool
    """Whether that agent is there for the session alone, declared by the gateway."""
    elsewhere: bool = False
    """Whether its workdir is another one than that of its agent's definition."""
    declared: bool = False
    """Whether the gateway has declared its agent."""
    stream_after: int | None = None
    """Number of the last line of agentd's stream that was taken."""
    used_at: float = 0.0
    """When a run ended last, or else the session was made."""
    fork_from: str | None = None
    """What its conversation begins with, as in a jcard."""

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    @property
    def open(self) -> bool:
        """Whether it takes messages."""
        return self.session.status is SessionStatus.OPEN


async def add(connection: Connection, stored: StoredSession) -> None:
    """Add a session."""
    session = stored.session
    await connection.execute(
        insert(SESSIONS).values(
            id=session.id,
            title=session.title,
            status=session.status.value,
            agent=session.agent,
            harness=session.harness,
            workdir=session.workdir,
            tmux_session=session.tmux_session,
            provider_thread_id=session.provider_thread_id,
            parent_session_id=session.parent_session_id,
            parent_run_id=session.parent_run_id,
            owner=session.owner,
            created_at=session.created_at,
            updated_at=session.updated_at,
            metadata=dict(session.metadata),
            target=stored.target,
            own=stored.own,
            elsewhere=stored.elsewhere,
            declared=stored.declared,
            stream_after=stored.stream_after,
            used_at=stored.used_at,
            fork_from=stored.fork_from,
        )
    )


async def find(connection: Connection, session_id: str) -> StoredSession | None:
    """Find a session."""
    found = (await connection.execute(select(SESSIONS).where(_T.id == session_id))).one_or_none()
    return None if found is None else _stored(found)


async def change(connection: Connection, session_id: str, **values: object) -> None:
    """Change columns of a session."""
    await connection.execute(update(SESSIONS).where(_T.id == session_id).values(values))


async def page(connection: Connection, caller: Caller, query: SessionQuery) -> list[Session]:
    """List the sessions that a caller sees, the newest first; one more than the limit, if there is one."""
    statement = select(SESSIONS).order_by(_T.id.desc()).limit(query.limit + 1)
    if not caller.sees_all:
        statement = statement.where(_T.owner == caller.user)
    if query.cursor is not None:
        statement = statement.where(_T.id < query.cursor)
    if query.status is not None:
        statement = statement.where(_T.status == query.status.value)
    if query.agent is not None:
        statement = statement.where(_T.agent == query.agent)
    return [_stored(row).session for row in await connection.execute(statement)]


async def declared(connection: Connection) -> list[StoredSession]:
    """List the sessions whose agents the gateway has declared."""
    return [_stored(row) for row in await connection.execute(select(SESSIONS).where(_T.declared.is_(True)))]


async def by_definition(connection: Connection, agent: str) -> list[StoredSession]:
    """List the sessions that have an agent of their own, by the definition of this one."""
    statement = select(SESSIONS).where(_T.own.is_(True), func.lower(_T.agent) == agent.lower())
    return [_stored(row) for row in await connection.execute(statement)]


async def closed_before(connection: Connection, time: float, limit: int) -> list[str]:
    """List ids of sessions that were closed before a time and whose agents are withdrawn."""
    statement = (
        select(_T.id)
        .where(_T.status == SessionStatus.CLOSED.value, _T.updated_at < time, _T.declared.is_(False))
        .limit(limit)
    )
    return [*(await connection.execute(statement)).scalars()]


def _stored(row: Row[Any]) -> StoredSession:
    return StoredSession(
        Session(
            id=row.id,
            title=row.title,
            status=SessionStatus(row.status),
            agent=row.agent,
            harness=row.harness,
            workdir=row.workdir,
            tmux_session=row.tmux_session,
            provider_thread_id=row.provider_thread_id,
            parent_session_id=row.parent_session_id,
            parent_run_id=row.parent_run_id,
            owner=row.owner,
            created_at=row.created_at,
            updated_at=row.updated_at,
            metadata=row.metadata,
        ),
        target=row.target,
        own=row.own,
        elsewhere=row.elsewhere,
        declared=row.declared,
        stream_after=row.stream_after,
        used_at=row.used_at,
        fork_from=row.fork_from,
    )
