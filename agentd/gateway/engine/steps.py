"""What transactions are made of: each step writes all that belongs together, events included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Protocol

from agentd.gateway.ids import new_id
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import InvalidTransitionError, KeyTakenError, NotFoundError, QueueFullError
from agentd.gateway.model.objects import (
    Event,
    EventType,
    Json,
    JsonObject,
    Message,
    RequestKind,
    Role,
    Run,
    RunError,
    encoded,
)
from agentd.gateway.model.once import Once, Recorded
from agentd.gateway.model.states import RunStatus, legal
from agentd.gateway.store import events, idempotency, messages, requests, runs, sessions
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.database import Writer
from agentd.gateway.store.events import NewEvent
from agentd.gateway.store.runs import Stage, StoredRun
from agentd.gateway.store.sessions import StoredSession

_RETRY_AFTER: Final = 5
"""Seconds after which a full queue may have room again."""

_EVENT_OF: Final[Mapping[RunStatus, EventType]] = {
    RunStatus.RUNNING: EventType.RUN_STARTED,
    RunStatus.AWAITING_INPUT: EventType.RUN_AWAITING_INPUT,
    RunStatus.AWAITING_PARENT: EventType.RUN_AWAITING_PARENT,
    RunStatus.SUCCEEDED: EventType.RUN_SUCCEEDED,
    RunStatus.FAILED: EventType.RUN_FAILED,
    RunStatus.CANCELED: EventType.RUN_CANCELED,
    RunStatus.TIMED_OUT: EventType.RUN_TIMED_OUT,
}


class Result(Protocol):
    """What an operation gives back."""

    def json(self) -> JsonObject:
        """Give the answer's body."""
        ...


@dataclass(frozen=True, slots=True)
class End:
    """How a run ends."""

    status: RunStatus
    result_text: str | None = None
    error: RunError | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    usage: Mapping[str, Json] | None = None


async def find_session(connection: Connection, caller: Caller, session_id: str) -> StoredSession:
    """Find a session that the caller sees.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    found = await sessions.find(connection, session_id)
    if found is None or not caller.sees(found.session.owner):
        raise NotFoundError(f"there is no session {session_id}")
    return found


async def find_run(connection: Connection, caller: Caller, run_id: str) -> StoredRun:
    """Find a run that the caller sees.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    found = await runs.find(connection, run_id)
    if found is None or not caller.sees(found.owner):
        raise NotFoundError(f"there is no run {run_id}")
    return found


async def emit(
    writer: Writer, session: StoredSession, kind: EventType, data: Mapping[str, Json], run_id: str | None, now: float
) -> Event:
    """Store an event."""
    (event,) = await events.add(writer, [NewEvent(session.id, session.session.owner, kind, data, run_id)], now)
    return event


async def add_message(writer: Writer, session: StoredSession, message: Message) -> Message:
    """Store a message."""
    await messages.add(writer.connection, message)
    data: JsonObject = {**message.json(), "message_id": message.id}
    await emit(writer, session, EventType.MESSAGE_CREATED, data, message.run_id, message.created_at)
    return message


def message_of(
    session: StoredSession, role: Role, text: str, now: float, run_id: str | None, kind: RequestKind | None = None
) -> Message:
    """Make a message."""
    return Message(new_id("msg", now), session.id, run_id, role, text, kind, now)


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be queued."""

    prompt: str
    parent_run_id: str | None
    timeout_s: float | None


async def queue_run(writer: Writer, session: StoredSession, new: NewRun, most: int, now: float) -> StoredRun:
    """Queue a run.

    Parameters
    ----------
    most
        Runs that may wait.

    Raises
    ------
    InvalidTransitionError
        If the session is closed.
    QueueFullError
        If as many wait already.
    """
    if not session.open:
        raise InvalidTransitionError(f"the session {session.id} is closed; make another one")
    waiting = (await runs.counts(writer.connection)).queued_count
    if waiting >= most:
        raise QueueFullError(f"{waiting} runs wait already; send it again later", _RETRY_AFTER)
    run_id = new_id("run", now)
    event = await emit(writer, session, EventType.RUN_QUEUED, {}, run_id, now)
    run = Run(
        id=run_id,
        session_id=session.id,
        parent_run_id=new.parent_run_id,
        status=RunStatus.QUEUED,
        prompt=new.prompt,
        result_text=None,
        error=None,
        exit_code=None,
        exit_signal=None,
        usage=None,
        worker_id=None,
        created_at=now,
        started_at=None,
        ended_at=None,
        timeout_s=new.timeout_s,
    )
    stored = StoredRun(
        run,
        position=event.cursor,
        owner=session.session.owner,
        target=session.target,
        delivery_id=run_id,
        delivery_text=new.prompt,
        turn_id=None,
        stage=Stage.WAITING,
    )
    await runs.add(writer.connection, stored)
    await sessions.change(writer.connection, session.id, updated_at=now)
    return stored


async def change_status(
    writer: Writer, session: StoredSession, stored: StoredRun, to: RunStatus, data: Mapping[str, Json], now: float
) -> StoredRun:
    """Put a run into another state that is not its end.

    Raises
    ------
    InvalidTransitionError
        If that may not follow.
    """
    check_transition(stored, to)
    await runs.change(writer.connection, stored.id, status=to.value)
    if to is not RunStatus.RUNNING or stored.status is RunStatus.QUEUED:
        await emit(writer, session, _EVENT_OF[to], data, stored.id, now)
    return replace(stored, run=replace(stored.run, status=to))


def check_transition(stored: StoredRun, to: RunStatus) -> None:
    """Make sure that a state may follow.

    Raises
    ------
    InvalidTransitionError
        If not.
    """
    if not legal(stored.status, to):
        raise InvalidTransitionError(f"the run {stored.id} is {stored.status}, and cannot become {to}")


async def end_run(writer: Writer, session: StoredSession, stored: StoredRun, end: End, now: float) -> StoredRun:
    """End a run; its answer becomes a message of the assistant.

    One that waits is taken out of the queue. What its agent is at is up to whoever follows it.

    Raises
    ------
    InvalidTransitionError
        If it cannot end so.
    """
    check_transition(stored, end.status)
    connection = writer.connection
    error: JsonObject | None = None if end.error is None else {"code": end.error.code, "message": end.error.message}
    stage = Stage.WORKING if stored.stage is Stage.WORKING else Stage.RESTING
    await runs.change(
        connection,
        stored.id,
        status=end.status.value,
        result_text=end.result_text,
        error=error,
        exit_code=end.exit_code,
        exit_signal=end.exit_signal,
        usage=None if end.usage is None else dict(end.usage),
        ended_at=now,
        stage=stage.value,
    )
    await requests.expire(connection, stored.id)
    await sessions.change(connection, session.id, updated_at=now, used_at=now)
    data: JsonObject = {
        "result_text": end.result_text,
        "error": error,
        "usage": None if end.usage is None else dict(end.usage),
        "exit_code": end.exit_code,
        "exit_signal": end.exit_signal,
    }
    if end.status is RunStatus.SUCCEEDED and end.result_text:
        await add_message(writer, session, message_of(session, Role.ASSISTANT, end.result_text, now, stored.id))
    if end.error is not None and end.status is RunStatus.FAILED:
        await emit(writer, session, EventType.RUN_ERROR, dict(error or {}), stored.id, now)
    await emit(writer, session, _EVENT_OF[end.status], data, stored.id, now)
    run = replace(
        stored.run,
        status=end.status,
        result_text=end.result_text,
        error=end.error,
        exit_code=end.exit_code,
        exit_signal=end.exit_signal,
        usage=end.usage,
        ended_at=now,
    )
    return replace(stored, run=run, stage=stage)


async def cancel_tree(
    writer: Writer, roots: Sequence[StoredRun], reason: str | None, now: float
) -> dict[str, StoredRun]:
    """Cancel runs and all that they spawned, as far as these are not over; returns those that were canceled, by id."""
    canceled: dict[str, StoredRun] = {}
    level = [*roots]
    while level:
        for stored in level:
            if not stored.status.terminal:
                session = await sessions.find(writer.connection, stored.run.session_id)
                assert session is not None, "sessions are removed with their runs"
                error = None if reason is None else RunError("canceled", reason)
                end = End(RunStatus.CANCELED, error=error)
                canceled[stored.id] = await end_run(writer, session, stored, end, now)
        level = await runs.children(writer.connection, [stored.id for stored in level])
    return canceled


async def remember(writer: Writer, once: Once | None, result: Result | JsonObject, now: float) -> None:
    """Keep the answer to a request that may come again, in the transaction of its effect.

    Raises
    ------
    KeyTakenError
        If another request with the same key was the first.
    """
    if once is not None:
        document = result if isinstance(result, dict) else result.json()
        recorded = Recorded(once.fingerprint, HTTPStatus.CREATED, encoded(document))
        await keep(writer, once, recorded, now)


async def keep(writer: Writer, once: Once, recorded: Recorded, now: float) -> None:
    """Keep an answer; raises as `remember`."""
    if await idempotency.recall(writer.connection, once) is not None:
        raise KeyTakenError(f"the idempotency key {once.key} is used by another request")
    await idempotency.remember(writer.connection, once, recorded, now)
