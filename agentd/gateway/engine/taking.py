"""What the lines of agentd's stream change in a run: one transaction for all that came at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from agentd.gateway.engine import escalation, steps
from agentd.gateway.engine.escalation import Escalated
from agentd.gateway.engine.runs import resolve
from agentd.gateway.engine.steps import End
from agentd.gateway.model.follow import Asked, Began, Change, Progress, Resolved, Told
from agentd.gateway.model.objects import Event, EventType, JsonObject, Message, RequestKind
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import events, messages, requests, runs, sessions
from agentd.gateway.store.connection import Connection
from agentd.gateway.store.database import Writer
from agentd.gateway.store.events import NewEvent
from agentd.gateway.store.requests import Answer, Request
from agentd.gateway.store.runs import Stage, StoredRun
from agentd.gateway.store.sessions import StoredSession


@dataclass(frozen=True, slots=True)
class Taken:
    """What came at once."""

    changes: Sequence[Change]
    after: int
    """Number of the last line."""
    delivery_id: str | None
    """The message that it is about."""
    end: End | None = None
    """How the run ends, if its turn does."""


async def take(writer: Writer, run_id: str, taken: Taken, now: float) -> StoredRun | None:
    """Write it down; returns the run as it is then."""
    connection = writer.connection
    stored = await runs.find(connection, run_id)
    session = None if stored is None else await sessions.find(connection, stored.run.session_id)
    if stored is None or session is None:
        return None
    await sessions.change(connection, session.id, stream_after=taken.after)
    # Of a run that is over, nothing more is told.
    if not stored.status.terminal:
        for told, group in groupby(taken.changes, lambda change: isinstance(change, Told)):
            if told:
                new = [_event(session, run_id, each) for each in group if isinstance(each, Told)]
                await events.add(writer, new, now)
            else:
                for change in group:
                    stored = await _apply(writer, session, stored, change, now)
    if taken.end is not None and stored.delivery_id == taken.delivery_id:
        stored = await _finish(writer, session, stored, taken.end, now)
    return stored


def _event(session: StoredSession, run_id: str, told: Told) -> NewEvent:
    return NewEvent(session.id, session.session.owner, told.type, told.data, run_id)


async def _apply(writer: Writer, session: StoredSession, stored: StoredRun, change: Change, now: float) -> StoredRun:
    match change:
        case Began(turn):
            await runs.change(writer.connection, stored.id, turn_id=turn)
            return replace(stored, turn_id=turn)
        case Asked():
            await _ask(writer, session, stored, change, now)
        case Resolved(request_id, decision):
            await resolve(writer, stored.id, request_id, decision, now)
        case _:
            return stored
    found = await runs.find(writer.connection, stored.id)
    assert found is not None, "it is there in this transaction"
    return found


async def _ask(writer: Writer, session: StoredSession, stored: StoredRun, asked: Asked, now: float) -> None:
    kind = "question" if asked.question else "permission"
    request = Request(stored.id, asked.request_id, kind, asked.name, asked.text, now)
    if not await requests.ask(writer.connection, request):
        return
    if not asked.question and await requests.is_allowed(writer.connection, session.id, asked.name, asked.text):
        await requests.set_answer(writer.connection, stored.id, asked.request_id, Answer("allow", ""))
        return
    if session.session.parent_session_id is not None:
        wanted = RequestKind.QUESTION if asked.question else RequestKind.PERMISSION_REQUEST
        said = Escalated(wanted, asked.text or asked.name, asked.request_id)
        await escalation.escalate(writer, session, stored, said, now)
        return
    data: JsonObject = {
        "request_id": asked.request_id,
        "kind": kind,
        "name": asked.name,
        "text": asked.text,
        "choices": [*asked.choices],
    }
    if stored.status is RunStatus.RUNNING:
        await steps.change_status(writer, session, stored, RunStatus.AWAITING_INPUT, data, now)
    else:
        # It asks for one thing more.
        await steps.emit(writer, session, EventType.RUN_AWAITING_INPUT, data, stored.id, now)


async def _finish(writer: Writer, session: StoredSession, stored: StoredRun, end: End, now: float) -> StoredRun:
    """End a run with its turn; one that waits for its parent goes on with what that says, or has said meanwhile."""
    connection = writer.connection
    if end.status is RunStatus.SUCCEEDED and not stored.status.terminal:
        said = await _said_meanwhile(connection, stored)
        if said is not None:
            return await _go_on(writer, session, stored, said, now)
    waits = stored.status is RunStatus.AWAITING_PARENT and end.status is RunStatus.SUCCEEDED
    if waits and not await requests.waiting(connection, stored.id):
        await runs.change(
            connection, stored.id, result_text=end.result_text, usage=None if end.usage is None else dict(end.usage)
        )
        await sessions.change(connection, session.id, used_at=now)
    elif not stored.status.terminal:
        if end.status is RunStatus.SUCCEEDED and stored.status is not RunStatus.RUNNING:
            # Nobody decided what it asked for, and the agent went on.
            stored = await steps.change_status(writer, session, stored, RunStatus.RUNNING, {}, now)
        stored = await steps.end_run(writer, session, stored, end, now)
    await runs.change(
        connection, stored.id, stage=Stage.RESTING.value, delivery_id=None, delivery_text=None, turn_id=None
    )
    return replace(stored, stage=Stage.RESTING, delivery_id=None, delivery_text=None, turn_id=None)


async def _said_meanwhile(connection: Connection, stored: StoredRun) -> Message | None:
    """Find what the agent is told next: the first answer of the parent that is no answer to the harness."""
    replies = await events.of_run(connection, stored.id, EventType.PARENT_REPLY)
    said = [reply.data["message_id"] for reply in replies if "request_id" not in reply.data]
    following = said[said.index(stored.delivery_id) + 1 :] if stored.delivery_id in said else said
    return await messages.find(connection, str(following[0])) if following else None


async def _go_on(writer: Writer, session: StoredSession, stored: StoredRun, said: Message, now: float) -> StoredRun:
    """Have a run whose turn is over begin the next one."""
    connection = writer.connection
    if await requests.waiting(connection, stored.id):
        # Nobody decided what it asked for, and the agent went on.
        await requests.expire(connection, stored.id)
        stored = await steps.change_status(writer, session, stored, RunStatus.RUNNING, {}, now)
    await runs.change(
        connection, stored.id, delivery_id=said.id, delivery_text=said.text, turn_id=None, working_since=now
    )
    await sessions.change(connection, session.id, used_at=now)
    return replace(stored, delivery_id=said.id, delivery_text=said.text, turn_id=None, working_since=now)


async def time_out(writer: Writer, run_id: str, end: End, now: float) -> StoredRun | None:
    """End a run whose time is up, unless it is over; its agent is interrupted by whoever follows it."""
    stored = await runs.find(writer.connection, run_id)
    if stored is None or stored.status.terminal:
        return stored
    session = await sessions.find(writer.connection, stored.run.session_id)
    assert session is not None, "sessions are removed with their runs"
    return await steps.end_run(writer, session, stored, end, now)


async def progress_of(connection: Connection, run_id: str) -> Progress:
    """Say how far the output of a run has come, by what was told of it."""
    progress = Progress()
    for event in await events.of_run(connection, run_id):
        progress = _told(progress, event)
    return progress


def _told(progress: Progress, event: Event) -> Progress:
    text = event.data.get("text")
    if not isinstance(text, str):
        return progress
    if event.event_type is EventType.RUN_OUTPUT:
        if (number := event.data.get("message")) != progress.message and isinstance(number, int):
            # Of the next turn: the harness told no whole message in the one before.
            progress = Progress(number)
        return replace(progress, pieces=progress.pieces + text)
    if event.event_type is EventType.BACKEND_EVENT and event.data.get("kind") == "text":
        return Progress(progress.message + 1, "", text)
    return progress
