"""Managed agents in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from agentd.gateway.model.managed import ManagedAgent, ManagedState
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import MANAGED_AGENTS

_T = MANAGED_AGENTS.c


async def add(connection: Connection, agent: ManagedAgent) -> None:
    """Add one."""
    await connection.execute(
        insert(MANAGED_AGENTS).values(
            key=agent.agent.lower(),
            username=agent.username,
            name=agent.name,
            harness=agent.harness,
            session_id=agent.session_id,
            definition=dict(agent.definition),
            launch=agent.launch,
            enabled=agent.enabled,
            keep=agent.keep,
            state=agent.state.value,
            created_at=agent.created_at,
            stream_after=agent.stream_after,
        )
    )


async def find(connection: Connection, agent: str) -> ManagedAgent | None:
    """Find one by agentd's name of it, without regard to case."""
    found = (await connection.execute(select(MANAGED_AGENTS).where(_T.key == agent.lower()))).one_or_none()
    return None if found is None else _agent(found)


async def change(connection: Connection, agent: str, **values: object) -> None:
    """Change columns of one."""
    await connection.execute(update(MANAGED_AGENTS).where(_T.key == agent.lower()).values(values))


async def remove(connection: Connection, agent: str) -> None:
    """Remove one."""
    await connection.execute(delete(MANAGED_AGENTS).where(_T.key == agent.lower()))


async def every(connection: Connection, username: str | None = None) -> list[ManagedAgent]:
    """List them, or those of a user, by name."""
    statement = select(MANAGED_AGENTS).order_by(_T.key)
    if username is not None:
        statement = statement.where(_T.username == username)
    return [_agent(row) for row in await connection.execute(statement)]


def _agent(row: Row[Any]) -> ManagedAgent:
    return ManagedAgent(
        row.username,
        row.name,
        row.harness,
        row.session_id,
        row.definition,
        row.enabled,
        row.keep,
        ManagedState(row.state),
        row.created_at,
        row.stream_after,
        tuple(row.launch["args"]),
        row.launch["model"],
        # One that an older gateway made goes on.
        row.launch.get("talked", True),
    )
