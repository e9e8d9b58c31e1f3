"""What the routes of sessions and runs answer, for ``/openapi.json``; the objects themselves are `gateway.model`'s."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from agentd.gateway.model.objects import Event, Message, Run, Session
from agentd.gateway.model.results import ChannelCondition


class Shape(BaseModel):
    """A JSON object."""

    # Built when /openapi.json is asked for.
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, defer_build=True)


class ErrorDetails(Shape):
    """What went wrong."""

    code: str
    """For programs."""
    message: str
    """For people."""


class ErrorShape(Shape):
    """Any error outside ``/v1``."""

    error: ErrorDetails


class OpenAIErrorDetails(Shape):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorShape(Shape):
    """Any error below ``/v1``."""

    error: OpenAIErrorDetails


class SessionAnswer(Shape):
    """One session."""

    session: Session


class SessionViewAnswer(Shape):
    """A session, and what is at work in it."""

    session: Session
    active_run: Run | None
    queued_runs: list[Run]


class SessionsAnswer(Shape):
    """A page of sessions, the newest first."""

    sessions: list[Session]
    next_cursor: str | None


class SentAnswer(Shape):
    """A message that was taken, and the run that answers it."""

    message: Message
    run: Run | None


class EventsAnswer(Shape):
    """A page of events."""

    events: list[Event]
    next_cursor: int
    has_more: bool


class RunAnswer(Shape):
    """One run."""

    run: Run


class RunsAnswer(Shape):
    """A page of runs, the newest first."""

    runs: list[Run]
    next_cursor: str | None


class WaitedAnswer(Shape):
    """A run that was waited for."""

    run: Run
    timed_out: bool
    """Whether it is not over."""


class CanceledAnswer(Shape):
    """A canceled run, and the ids of those canceled with it."""

    run: Run
    canceled_children: list[str]


class SpawnedAnswer(Shape):
    """A child at work."""

    session: Session
    run: Run
    message: Message


class ReplyAnswer(Shape):
    """What a child said to its parent."""

    message: Message
    parent_session_id: str
    event: Event


class QueueCounts(Shape):
    """How many runs there are."""

    queued_count: int
    running_count: int


class CodexInvocation(Shape):
    """How Codex was started."""

    profile: str | None
    extra_args: list[str]


class Channel(Shape):
    """How messages by a broker do."""

    agent: str
    user: str | None
    """Who owns its conversations."""
    backend: Literal["kafka", "msk", "redis"]
    channel_name: str
    where: str
    """The topic, channel or stream at the broker."""
    state: ChannelCondition
    error: str | None
    """Why it is not connected, or does not get on."""
    counts: dict[str, int]
    """Messages since the gateway started: taken, repeated, own, skipped, dead, decided and sent."""


class Diagnostics(Shape):
    """What is known of a run that may be stuck."""

    worker_id: str | None
    worker_alive: bool
    alive_workers: int
    max_concurrency: int
    queue_counts: QueueCounts
    queue_position: int | None
    """From 1; null if the run is not queued."""
    likely_issue: str
    active_pid: int | None
    provider_thread_id: str | None
    last_event_at: AwareDatetime | None
    seconds_since_event: float | None
    exit_code: int | None
    stderr_tail: str | None
    argv: list[str] | None
    """Without secrets."""
    activity: str | None
    codex_invocation: CodexInvocation
    channel: Channel | None
    """By which the message came."""


class ChannelsAnswer(Shape):
    """All channels that the caller sees."""

    channels: list[Channel]


class ChannelSentAnswer(Shape):
    """A message that a broker has."""

    channel: Channel
    message_id: str | None
    """The broker's; null if it gives none."""


class DiagnosisAnswer(Shape):
    """A run, and what is known of it."""

    run: Run
    diagnostics: Diagnostics


class HiredAnswer(Shape):
    """An agent that runs."""

    name: str
    pid: int
    workspace: str


class ChannelHealth(Shape):
    """Whether a channel has its broker. Whose it is, is told where no token is configured."""

    agent: str | None = None
    backend: Literal["kafka", "msk", "redis"]
    channel_name: str | None = None
    state: ChannelCondition


class HealthAnswer(Shape):
    """Whether the gateway answers, and agentd."""

    ok: bool
    status: Literal["healthy", "degraded"]
    """``degraded`` while the database cannot be used."""
    version: str
    agentd: Literal["reachable", "unreachable"]
    database: Literal["unavailable"] | None = None
    """Missing while it can be used."""
    channels: list[ChannelHealth] | None = None
    """Missing if there are none."""


class DaemonStatusAnswer(Shape):
    """How the gateway does."""

    daemon_health: Literal["ok", "degraded"]
    max_concurrency: int
    alive_workers: int
    busy_workers: int
    queue_counts: QueueCounts
    uptime_s: float
    version: str
    pid: int
