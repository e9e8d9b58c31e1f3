"""What clients see: sessions, messages, runs and events, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Annotated, ClassVar, TypeAlias

from agentd.gateway.model.states import RunStatus, SessionStatus
from agentd.text.timestamps import rfc3339_milliseconds

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def encoded(document: Mapping[str, object]) -> bytes:
    """Write a document as answers carry it: a repeated request is given the same bytes."""
    # Half of a surrogate pair, which an older agentd passed on, is no character.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


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


@dataclass(frozen=True, slots=True, eq=False)
class _Described:
    """How ``/openapi.json`` describes what a field is shown as."""

    schema: JsonObject

    def __get_pydantic_core_schema__(self, _source: object, handler: Callable[[object], object]) -> object:
        return handler(object)

    def __get_pydantic_json_schema__(self, *_: object) -> JsonObject:
        return dict(self.schema)


Time: TypeAlias = Annotated[float, _Described({"type": "string", "format": "date-time"})]
"""Seconds since the epoch; clients see it as RFC 3339."""

JsonMapping: TypeAlias = Annotated[Mapping[str, Json], _Described({"type": "object", "additionalProperties": True})]


class _Shown:
    """Something with a JSON of its own: its fields, times as RFC 3339. ``/openapi.json`` has its schema from them."""

    __slots__ = ()
    __pydantic_config__: ClassVar[Mapping[str, object]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
        "json_schema_serialization_defaults_required": True,
    }

    def json(self) -> JsonObject:
        """Give what clients see."""
        shown: JsonObject = {}
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if each.name in _TIMES and value is not None:
                value = rfc3339_milliseconds(value)
            elif isinstance(value, RunError):
                value = value.json()
            shown[each.name] = value
        return shown


@dataclass(frozen=True, slots=True)
class Session(_Shown):
    """One conversation with one agent."""

    id: str
    title: str | None
    status: SessionStatus
    agent: str | None
    """The declared agent by whose definition it works; null for an ad-hoc session."""
    harness: str
    workdir: str
    tmux_session: str
    """To which people can attach."""
    provider_thread_id: str | None
    """The harness's own id of the conversation, once it has one."""
    parent_session_id: str | None
    parent_run_id: str | None
    owner: str | None
    """The user whose token made it; null for an administrator's."""
    created_at: Time
    updated_at: Time
    metadata: JsonMapping = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message(_Shown):
    """What somebody said in a session."""

    id: str
    session_id: str
    run_id: str | None
    role: Role
    text: str
    request_kind: RequestKind | None
    created_at: Time


@dataclass(frozen=True, slots=True)
class RunError(_Shown):
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
    usage: JsonMapping | None
    worker_id: str | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Event(_Shown):
    """Something that happened in a session."""

    cursor: int
    """Ascends in the order in which events were stored."""
    id: str
    session_id: str
    run_id: str | None
    event_type: EventType
    data: JsonMapping
    created_at: Time
