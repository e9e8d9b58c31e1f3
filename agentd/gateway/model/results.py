"""What operations give back, and the JSON that routes answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal

from agentd.gateway.model.objects import Event, Json, JsonObject, Message, Run, Session


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session, and what is at work in it."""

    session: Session
    active_run: Run | None
    queued_runs: tuple[Run, ...]
    """The next one first."""

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {
            "session": self.session.json(),
            "active_run": None if self.active_run is None else self.active_run.json(),
            "queued_runs": [run.json() for run in self.queued_runs],
        }


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, and the cursor of what comes after them."""

    sessions: tuple[Session, ...]
    next_cursor: str | None

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"sessions": [session.json() for session in self.sessions], "next_cursor": self.next_cursor}


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, and the cursor of what comes after them."""

    runs: tuple[Run, ...]
    next_cursor: str | None

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"runs": [run.json() for run in self.runs], "next_cursor": self.next_cursor}


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events after a cursor."""

    events: tuple[Event, ...]
    next_cursor: int
    """That of the last event; the one asked with, if there is none."""
    has_more: bool

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {
            "events": [event.json() for event in self.events],
            "next_cursor": self.next_cursor,
            "has_more": self.has_more,
        }


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was taken, and the run that answers it."""

    message: Message
    run: Run | None

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"message": self.message.json(), "run": None if self.run is None else self.run.json()}


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child, at work on its task."""

    session: Session
    run: Run
    message: Message

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"session": self.session.json(), "run": self.run.json(), "message": self.message.json()}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a child said to its parent."""

    message: Message
    parent_session_id: str
    event: Event

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {
            "message": self.message.json(),
            "parent_session_id": self.parent_session_id,
            "event": self.event.json(),
        }


@dataclass(frozen=True, slots=True)
class Waited:
    """A run that was waited for."""

    run: Run
    timed_out: bool
    """Whether it is not over."""

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"run": self.run.json(), "timed_out": self.timed_out}


@dataclass(frozen=True, slots=True)
class Canceled:
    """A run that was canceled, and the ids of those that were canceled with it."""

    run: Run
    canceled_children: tuple[str, ...]

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"run": self.run.json(), "canceled_children": [*self.canceled_children]}


@dataclass(frozen=True, slots=True)
class DeclaredAgent:
    """An agent by whose definition sessions can work."""

    name: str
    harness: str
    since: float
    """When the file that declares it was changed last, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many runs there are."""

    queued_count: int
    running_count: int


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """How the gateway and what it stands on do."""

    daemon_health: Literal["ok", "degraded"]
    """``degraded`` while agentd does not answer, or the database cannot be used."""
    max_concurrency: int
    alive_workers: int
    """As many runs as can be at work at once: none while agentd does not answer."""
    busy_workers: int
    queue_counts: QueueCounts
    uptime_s: float
    version: str
    pid: int

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return asdict(self)


class ChannelCondition(StrEnum):
    """Whether a channel has its broker."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """How a channel does."""

    agent: str
    user: str | None
    backend: str
    channel_name: str
    where: str
    """The topic, channel or stream at the broker."""
    state: ChannelCondition
    error: str | None
    """Why it is not connected, or does not get on."""
    counts: Mapping[str, int]
    """Messages since the gateway started, by what became of them."""

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CodexInvocation:
    """How Codex was started."""

    profile: str | None
    extra_args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What is known of a run that may be stuck."""

    worker_id: str | None
    worker_alive: bool
    alive_workers: int
    max_concurrency: int
    queue_counts: QueueCounts
    queue_position: int | None
    """From 1 for the next one; ``None`` if the run is not queued."""
    likely_issue: str
    active_pid: int | None
    provider_thread_id: str | None
    last_event_at: str | None
    seconds_since_event: float | None
    exit_code: int | None
    stderr_tail: str | None
    argv: tuple[str, ...] | None
    activity: str | None
    codex_invocation: CodexInvocation
    channel: ChannelStatus | None = None
    """By which the message came."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A run, and what is known of it."""

    run: Run
    diagnostics: Diagnostics

    def json(self) -> JsonObject:
        """Give the answer's body."""
        shown: dict[str, Json] = asdict(self.diagnostics)
        return {"run": self.run.json(), "diagnostics": shown}


@dataclass(frozen=True, slots=True)
class Hired:
    """An agent that runs."""

    name: str
    pid: int
    workspace: str

    def json(self) -> JsonObject:
        """Give the answer's body."""
        return {"name": self.name, "pid": self.pid, "workspace": self.workspace}
