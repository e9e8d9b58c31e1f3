"""Runs in the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, func, insert, or_, select, update

from agentd.gateway.model.caller import Caller
from agentd.gateway.model.objects import Run, RunError
from agentd.gateway.model.queue import Waiting, Working
from agentd.gateway.model.requests import RunQuery
from agentd.gateway.model.results import QueueCounts
from agentd.gateway.model.states import ACTIVE, RunStatus
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.schema import RUNS

_T = RUNS.c

WORKER: Final = "worker-"
"""Before a worker's number in its id."""


class Stage(StrEnum):
    """What there is to do for a run."""

    WAITING = "waiting"
    """It is to be started, or its next message to be delivered."""
    WORKING = "working"
    """It is followed: the agent may be at it, also if the run itself is over."""
    RESTING = "resting"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run, and what clients are not shown of it."""

    run: Run
    position: int
    """Its place in the queue."""
    owner: str | None
    target: str
    """Name of the agent that it talks to."""
    delivery_id: str | None
    """Id of the message that agentd was given last; ``None`` once its turn has ended."""
    delivery_text: str | None
    turn_id: str | None
    """The turn that began with it."""
    stage: Stage
    working_since: float | None = None
    """When it began to be worked at; a run that was continued, the last time."""
    fork_point: str | None = None
    """The end of its turn, as in a jcard's ``fork_from``, where the harness has a name for it."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def status(self) -> RunStatus:
        """Where it stands."""
        return self.run.status


async def add(connection: Connection, stored: StoredRun) -> None:
    """Add a run."""
    run = stored.run
    await connection.execute(
        insert(RUNS).values(
            id=run.id,
            session_id=run.session_id,
            parent_run_id=run.parent_run_id,
            status=run.status.value,
            prompt=run.prompt,
            created_at=run.created_at,
            timeout_s=run.timeout_s,
            position=stored.position,
            owner=stored.owner,
            target=stored.target,
            delivery_id=stored.delivery_id,
            delivery_text=stored.delivery_text,
            stage=stored.stage.value,
        )
    )


async def find(connection: Connection, run_id: str) -> StoredRun | None:
    """Find a run."""
    found = (await connection.execute(select(RUNS).where(_T.id == run_id))).one_or_none()
    return None if found is None else _stored(found)


async def change(connection: Connection, run_id: str, **values: object) -> None:
    """Change columns of a run."""
    await connection.execute(update(RUNS).where(_T.id == run_id).values(values))


async def page(connection: Connection, caller: Caller, query: RunQuery) -> list[Run]:
    """List the runs that a caller sees, the newest first; one more than the limit, if there is one."""
    statement = select(RUNS).order_by(_T.id.desc()).limit(query.limit + 1)
    if not caller.sees_all:
        statement = statement.where(_T.owner == caller.user)
    if query.cursor is not None:
        statement = statement.where(_T.id < query.cursor)
    if query.session_id is not None:
        statement = statement.where(_T.session_id == query.session_id)
    if query.status is not None:
        statement = statement.where(_T.status == query.status.value)
    return [_stored(row).run for row in await connection.execute(statement)]


async def newest(connection: Connection, session_id: str) -> StoredRun | None:
    """Find the run of a session that was queued last."""
    statement = select(RUNS).where(_T.session_id == session_id).order_by(_T.position.desc()).limit(1)
    found = (await connection.execute(statement)).one_or_none()
    return None if found is None else _stored(found)


async def last_turn(connection: Connection, stored: StoredRun) -> StoredRun | None:
    """Find the last run up to this one that is in the agent's conversation."""
    up_to = _T.session_id == stored.run.session_id, _T.position <= stored.position
    there = or_(_T.fork_point.is_not(None), _T.status == RunStatus.SUCCEEDED.value)
    statement = select(RUNS).where(*up_to, there).order_by(_T.position.desc()).limit(1)
    found = (await connection.execute(statement)).one_or_none()
    return None if found is None else _stored(found)


async def unfinished(connection: Connection, session_id: str) -> list[StoredRun]:
    """List the runs of a session that are not over, in the order of the queue."""
    statement = (
        select(RUNS)
        .where(_T.session_id == session_id, _T.status.in_([RunStatus.QUEUED.value, *_values(ACTIVE)]))
        .order_by(_T.position)
    )
    return [_stored(row) for row in await connection.execute(statement)]


async def children(connection: Connection, run_ids: Iterable[str]) -> list[StoredRun]:
    """List the runs that others spawned."""
    statement = select(RUNS).where(_T.parent_run_id.in_([*run_ids])).order_by(_T.position)
    return [_stored(row) for row in await connection.execute(statement)]


async def in_stage(connection: Connection, stage: Stage) -> list[StoredRun]:
    """List the runs of a stage, in the order of the queue."""
    statement = select(RUNS).where(_T.stage == stage.value).order_by(_T.position)
    return [_stored(row) for row in await connection.execute(statement)]


async def waiting(connection: Connection) -> list[Waiting]:
    """List the queue."""
    statement = select(_T.id, _T.target).where(_T.stage == Stage.WAITING.value).order_by(_T.position)
    return [Waiting(row.id, row.target) for row in await connection.execute(statement)]


async def working(connection: Connection) -> list[Working]:
    """List what agents are at."""
    statement = select(_T.target, _T.worker_id).where(_T.stage == Stage.WORKING.value)
    return [Working(row.target, worker_number(row.worker_id)) for row in await connection.execute(statement)]


def worker_number(worker_id: str | None) -> int | None:
    """Give the number of a worker by its id."""
    return None if worker_id is None else int(worker_id.removeprefix(WORKER))


async def counts(connection: Connection) -> QueueCounts:
    """Count those that wait and those that are under way."""
    wanted = [RunStatus.QUEUED.value, *_values(ACTIVE)]
    statement = select(_T.status, func.count()).where(_T.status.in_(wanted)).group_by(_T.status)
    found = {row[0]: row[1] for row in await connection.execute(statement)}
    waiting = found.pop(RunStatus.QUEUED.value, 0)
    return QueueCounts(waiting, sum(found.values()))


async def queue_position(connection: Connection, stored: StoredRun) -> int:
    """Say which place a queued run has, from 1."""
    statement = select(func.count()).where(_T.status == RunStatus.QUEUED.value, _T.position <= stored.position)
    return int((await connection.execute(statement)).scalar_one())


def _values(statuses: Iterable[RunStatus]) -> list[str]:
    return [status.value for status in statuses]


def _stored(row: Row[Any]) -> StoredRun:
    return StoredRun(
        Run(
            id=row.id,
            session_id=row.session_id,
            parent_run_id=row.parent_run_id,
            status=RunStatus(row.status),
            prompt=row.prompt,
            result_text=row.result_text,
            error=None if row.error is None else RunError(**row.error),
            exit_code=row.exit_code,
            exit_signal=row.exit_signal,
            usage=row.usage,
            worker_id=row.worker_id,
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            timeout_s=row.timeout_s,
        ),
        position=row.position,
        owner=row.owner,
        target=row.target,
        delivery_id=row.delivery_id,
        delivery_text=row.delivery_text,
        turn_id=row.turn_id,
        stage=Stage(row.stage),
        working_since=row.working_since,
        fork_point=row.fork_point,
    )
