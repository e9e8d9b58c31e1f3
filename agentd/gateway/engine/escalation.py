"""Children and parents: what a child asks, and how it goes on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from agentd.gateway.engine import steps
from agentd.gateway.model.errors import NoParentError
from agentd.gateway.model.objects import Event, EventType, JsonObject, Message, RequestKind, Role, Run
from agentd.gateway.model.results import Reply
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import requests, runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.requests import Answer, Request
from agentd.gateway.store.runs import Stage, StoredRun
from agentd.gateway.store.sessions import StoredSession

_YES: Final = re.compile(r"\W*(?:allow|allowed|approve|approved|yes|ok|okay)\b", re.IGNORECASE)
"""How a text begins that allows what a child asks for; any other is why it is denied."""


@dataclass(frozen=True, slots=True)
class Continued:
    """A run that goes on."""

    message: Message
    run: Run


@dataclass(frozen=True, slots=True)
class Escalated:
    """What a child says to its parent."""

    kind: RequestKind
    text: str
    request_id: str | None = None
    """Of the harness, if it is the one that asks."""


async def escalate(writer: Writer, session: StoredSession, stored: StoredRun, said: Escalated, now: float) -> Reply:
    """Tell the parent of a session something; a request makes a run that is not over wait for what is sent to it.

    Raises
    ------
    NoParentError
        If the session has none.
    InvalidTransitionError
        If the run has not begun.
    """
    parent_id = session.session.parent_session_id
    parent = None if parent_id is None else await sessions.find(writer.connection, parent_id)
    if parent is None:
        raise NoParentError(f"the session {session.id} of the run {stored.id} was not spawned by another one")
    request: JsonObject = {} if said.request_id is None else {"request_id": said.request_id}
    # One that waits says more before it was answered; one that is over stays so, and the answer begins a new run.
    if said.kind.waits and stored.status is not RunStatus.AWAITING_PARENT and not stored.status.terminal:
        waiting: JsonObject = {"request_kind": said.kind.value, "text": said.text, **request}
        await steps.change_status(writer, session, stored, RunStatus.AWAITING_PARENT, waiting, now)
    message = steps.message_of(parent, Role.CHILD, said.text, now, session.session.parent_run_id, said.kind)
    await steps.add_message(writer, parent, message)
    data: JsonObject = {
        "request_kind": said.kind.value,
        "text": said.text,
        "child_session_id": session.id,
        "child_run_id": stored.id,
        "message_id": message.id,
        **request,
    }
    event: Event = await steps.emit(writer, parent, EventType.PARENT_REQUEST, data, session.session.parent_run_id, now)
    return Reply(message, parent.id, event)


async def continue_run(writer: Writer, session: StoredSession, message: Message, now: float) -> Continued | None:
    """Have the run go on that waits for its parent, if one does; `message` is stored then.

    If the harness asked, the message answers that; else it is what the agent is told next: at once if its turn is over,
    else after it.
    """
    unfinished = await runs.unfinished(writer.connection, session.id)
    stored = next((each for each in unfinished if each.status is RunStatus.AWAITING_PARENT), None)
    if stored is None:
        return None
    message = replace(message, run_id=stored.id)
    await steps.add_message(writer, session, message)
    waiting = await requests.waiting(writer.connection, stored.id)
    run = stored.run
    data: JsonObject = {"text": message.text, "message_id": message.id}
    if waiting:
        # It runs again once the harness has the answer.
        data["request_id"] = waiting[0].id
        await requests.set_answer(writer.connection, stored.id, waiting[0].id, answer_in(waiting[0], message.text))
    else:
        run = (await steps.change_status(writer, session, stored, RunStatus.RUNNING, {}, now)).run
        if stored.delivery_id is None:
            await runs.change(
                writer.connection,
                stored.id,
                delivery_id=message.id,
                delivery_text=message.text,
                stage=Stage.WAITING.value,
            )
    await steps.emit(writer, session, EventType.PARENT_REPLY, data, stored.id, now)
    return Continued(message, run)


def answer_in(request: Request, text: str) -> Answer:
    """Read a message as the answer to what a harness asks for."""
    if request.kind == "question":
        return Answer("answer", text)
    return Answer("allow", "") if _YES.match(text) else Answer("deny", text)
