"""What clients see: sessions, messages, runs and events, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TypeAlias

from agentd.gateway.model.states import RunStatus, SessionStatus
from agentd.text.timestamps import rfc3339_milliseconds

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def encoded(document: Mapping[str, object]) -> bytes:
    """Write a document as answers carry it: a repeated request is given the same bytes."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


class Role(StrEnum):
    """Who says something in a session."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    PARENT = "parent"
    CHILD = "child"


class RequestKind(StrEnum):
    """What a child asks of its parent."""

    APPROVAL_REQUEST = "approval_request"
    PERMISSION_REQUEST = "permission_request"
    QUESTION = "question"
    INFO = "info"

    @property
    def waits(self) -> bool:
        """Whether the child waits for an answer."""
        return self is not RequestKind.INFO


class EventType(StrEnum):
    """What happened in a session."""

    SESSION_CREATED = "session.created"
    SESSION_CLOSED = "session.closed"
    MESSAGE_CREATED = "message.created"
    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    RUN_OUTPUT = "run.output"
    RUN_TOOL_STARTED = "run.tool_started"
    RUN_TOOL_COMPLETED = "run.tool_completed"
    RUN_AWAITING_INPUT = "run.awaiting_input"
    RUN_AWAITING_PARENT = "run.awaiting_parent"
    RUN_SUCCEEDED = "run.succeeded"
    RUN_FAILED = "run.failed"
    RUN_CANCELED = "run.canceled"
    RUN_TIMED_OUT = "run.timed_out"
    RUN_ERROR = "run.error"
    BACKEND_EVENT = "backend.event"
    CHILD_SPAWNED = "child.spawned"
    PARENT_REQUEST = "parent.request"
    PARENT_REPLY = "parent.reply"
    TOOL_CONFIRMATION_REQUEST = "tool_confirmation_request"
    TOOL_CONFIRMATION_RESPONSE = "tool_confirmation_response"

    @property
    def ends(self) -> bool:
        """Whether a run is over with it."""
        return self in _ENDING


_ENDING = frozenset({EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELED, EventType.RUN_TIMED_OUT})

_TIMES = frozenset({"created_at", "updated_at", "started_at", "ended_at"})


class _Shown:
    """Something with a JSON of its own: its fields, times as RFC 3339."""

    __slots__ = ()

    def json(self) -> JsonObject:
        """Give what clients see."""
        shown: JsonObject = {}
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if each.name in _TIMES and value is not None:
                value = rfc3339_milliseconds(value)
            elif isinstance(value, RunError):
                value = {"code": value.code, "message": value.message}
            shown[each.name] = value
        return shown


@dataclass(frozen=True, slots=True)
class Session(_Shown):
    """One conversation with one agent. Times are seconds since the epoch."""

    id: str
    title: str | None
    status: SessionStatus
    agent: str | None
    """Name of the declared agent by whose definition it works; ``None`` for an ad-hoc session."""
    harness: str
    workdir: str
    tmux_session: str
    provider_thread_id: str | None
    """The harness's own id of the conversation, once it has one."""
    parent_session_id: str | None
    parent_run_id: str | None
    owner: str | None
    """The user whose token made it; ``None`` for an administrator's."""
    created_at: float
    updated_at: float
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message(_Shown):
    """What somebody said in a session."""

    id: str
    session_id: str
    run_id: str | None
    role: Role
    text: str
    request_kind: RequestKind | None
    created_at: float


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Run(_Shown):
    """One turn."""

    id: str
    session_id: str
    parent_run_id: str | None
    status: RunStatus
    prompt: str
    result_text: str | None
    error: RunError | None
    exit_code: int | None
    exit_signal: int | None
    usage: Mapping[str, Json] | None
    worker_id: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Event(_Shown):
    """Something that happened in a session; cursors ascend in the order in which events were stored."""

    cursor: int
    id: str
    session_id: str
    run_id: str | None
    event_type: EventType
    data: Mapping[str, Json]
    created_at: float
