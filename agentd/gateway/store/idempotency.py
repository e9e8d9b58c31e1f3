"""What was answered to requests that clients may repeat, in the database."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from agentd.gateway.model.once import Once, Recorded
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import IDEMPOTENCY

_T = IDEMPOTENCY.c


async def recall(connection: Connection, once: Once) -> Recorded | None:
    """Give what the first request with a key was answered."""
    statement = select(_T.fingerprint, _T.status, _T.body).where(
        _T.token == once.token, _T.route == once.route, _T.key == once.key
    )
    found = (await connection.execute(statement)).one_or_none()
    return None if found is None else Recorded(found.fingerprint, found.status, bytes(found.body))


async def remember(connection: Connection, once: Once, recorded: Recorded, now: float) -> None:
    """Keep an answer."""
    await connection.execute(
        insert(IDEMPOTENCY).values(
            token=once.token,
            route=once.route,
            key=once.key,
            fingerprint=recorded.fingerprint,
            status=recorded.status,
            body=recorded.body,
            created_at=now,
        )
    )


async def remove_before(connection: Connection, time: float) -> None:
    """Forget answers from before a time."""
    await connection.execute(delete(IDEMPOTENCY).where(_T.created_at < time))
