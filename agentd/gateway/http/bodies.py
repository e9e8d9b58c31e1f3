"""What the routes of sessions and runs take: bodies and queries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from agentd.gateway.model.objects import RequestKind, Role
from agentd.gateway.model.requests import LONGEST_PAGE, PAGE
from agentd.gateway.model.states import RunStatus, SessionStatus

LONGEST_WAIT = 24 * 60 * 60
"""Seconds that a client may wait for a run in one request."""

_LONGEST_RUN = 366 * 24 * 60 * 60
_LONGEST_TITLE = 1000
_LONGEST_KEY = 255
_LARGEST_CURSOR = 2**63 - 1


def _id(kind: str) -> str:
    return f"^{kind}_[0-9A-HJKMNP-TV-Z]{{26}}$"


def _check_text(text: str) -> str:
    if not text.strip():
        raise ValueError("found only blanks, expected text")
    return text


_Text = Annotated[str, AfterValidator(_check_text), Field(min_length=1, json_schema_extra={"pattern": r"\S"})]
_Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_KEY)]
_Path = Annotated[str, Field(min_length=1, max_length=4096)]
Key = Annotated[str, Field(min_length=1, max_length=_LONGEST_KEY, pattern=r"^[!-~]([ -~]*[!-~])?$")]
"""An idempotency key: what a header can carry."""
_Seconds = Annotated[float, Field(gt=0, le=_LONGEST_RUN, allow_inf_nan=False)]


class Body(BaseModel):
    """A body of JSON; a field that there is not is refused, so that a misspelt one is not passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, defer_build=True)


class KeyedBody(Body):
    """A body of a request that may be repeated without its taking effect twice."""

    idempotency_key: Key | None = None
    """As the header Idempotency-Key."""


class NewSessionBody(KeyedBody):
    """A session to be made, by a declared agent's definition or ad hoc."""

    agent: _Name | None = None
    """Name of a declared agent; may be left out where only one is declared."""
    main: bool = False
    """Whether to talk to the declared agent itself, instead of in a new conversation."""
    harness: _Name | None = None
    """Of an ad-hoc session."""
    workdir: _Path | None = None
    """Of an ad-hoc session, inside the folders that the gateway allows."""
    title: Annotated[str, Field(max_length=_LONGEST_TITLE)] | None = None
    metadata: dict[str, JsonValue] = {}
    """Anything; it is given back as it is."""


class NewMessageBody(KeyedBody):
    """A message; one of a user makes a run."""

    text: _Text
    role: Annotated[Role, Field(strict=False)] = Role.USER


class SendBody(KeyedBody):
    """A message from another session, or from a user."""

    text: _Text
    from_run_id: _Name | None = None
    """The run that sends it."""


class NewRunBody(KeyedBody):
    """A run to be queued."""

    session_id: _Name
    prompt: _Text
    timeout_s: _Seconds | None = None
    """After so many seconds it is interrupted."""


class TransitionBody(KeyedBody):
    """Another state for a run."""

    to_status: Annotated[RunStatus, Field(strict=False)]
    reason: Annotated[str, Field(max_length=_LONGEST_TITLE)] | None = None


class CancelBody(KeyedBody):
    """Why a run is canceled."""

    reason: Annotated[str, Field(max_length=_LONGEST_TITLE)] | None = None


class SpawnBody(KeyedBody):
    """A task for another agent, in a session of its own."""

    task: _Text
    agent: _Name | None = None
    """Default: as the session that spawns it."""
    harness: _Name | None = None
    workdir: _Path | None = None


class ReplyParentBody(KeyedBody):
    """What a child says to the session that spawned it."""

    text: _Text
    request_kind: Annotated[RequestKind, Field(strict=False)]


class AnswerBody(KeyedBody):
    """The answer to what an agent asks."""

    request_id: _Name
    decision: Literal["allow", "deny", "allow_always"]
    text: _Text | None = None
    """The answer to a question."""


class HireBody(KeyedBody):
    """An agent to be hired, as ``agentctl hire`` does it."""

    role: _Name
    """Whose templates its workspace begins with, such as engineer."""
    name: _Name
    """The agent is then called ROLE_NAME."""
    harness: _Name | None = None
    """claude-code by default."""
    model: _Name | None = None


class ChannelMessageBody(Body):
    """A message for a channel, which goes by its broker."""

    content: _Text
    channel_id: str | int | None = None
    """Which conversation it belongs to: by default, the agent's own."""
    metadata: dict[str, JsonValue] | None = None
    """Given back with all answers."""
    id: str | None = Field(None, min_length=1, max_length=_LONGEST_KEY)
    """Given back as in_reply_to."""
    agent: _Name | None = None
    """Whose channel, where several agents have one of that name."""


class Query(BaseModel):
    """The parameters of a query, which are texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


_Limit = Annotated[int, Field(ge=1, le=LONGEST_PAGE)]


class SessionsQuery(Query):
    """Which sessions to list."""

    limit: _Limit = PAGE
    cursor: Annotated[str, Field(pattern=_id("ses"))] | None = None
    """``next_cursor`` of the page before."""
    status: SessionStatus | None = None
    agent: _Name | None = None


class RunsQuery(Query):
    """Which runs to list."""

    limit: _Limit = PAGE
    cursor: Annotated[str, Field(pattern=_id("run"))] | None = None
    """``next_cursor`` of the page before."""
    session_id: _Name | None = None
    status: RunStatus | None = None


class EventsQuery(Query):
    """Which events to list: those after a cursor."""

    cursor: Annotated[int, Field(ge=0, le=_LARGEST_CURSOR)] = 0
    limit: _Limit = PAGE


class WaitQuery(Query):
    """How long to wait for a run."""

    timeout_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 30
    interval_ms: Annotated[int, Field(ge=0, le=LONGEST_WAIT * 1000)] = 0
    """Has no effect: nothing is polled."""


class StreamQuery(Query):
    """Which events to follow."""

    session_id: Annotated[_Name | None, Field(alias="sessionId")] = None
    """Those of one session; else of all."""
    cursor: Annotated[str, Field(pattern=r"^([0-9]{1,18}|now)$")] = "0"
    """After which; ``now`` for those to come alone. A Last-Event-ID counts instead."""
