"""From agentd's events to log records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from agentd.model.events import Event, EventKind
from agentd.otel import names
from agentd.otel.ids import run_span_id, trace_id
from agentd.otel.values import Value, attributes_of, text_in


class Severity(IntEnum):
    """Severities with the numbers of OTLP."""

    INFO = 9
    WARN = 13
    ERROR = 17


@dataclass(frozen=True, slots=True)
class Record:
    """One log record."""

    at: float
    """Seconds since the epoch."""
    name: str
    severity: Severity
    body: str
    attributes: Mapping[str, Value]
    trace: int | None = None
    span: int | None = None


_ERRORS: Final = frozenset(
    {
        EventKind.LAUNCH_FAILED, EventKind.FAILED, EventKind.TIMED_OUT, EventKind.OOM, EventKind.CONFIG_REJECTED,
        EventKind.PROCESSES_SURVIVE_SIGKILL, EventKind.TMUX_SERVER_DIED, EventKind.PATH_LOST, EventKind.EVENTS_LOST,
    }
)  # fmt: skip
_WARNINGS: Final = frozenset(
    {
        EventKind.KILLED, EventKind.RESTARTING, EventKind.SESSION_LOST, EventKind.NOT_ADOPTED, EventKind.RECORD_LOST,
        EventKind.PROCESSES_GREW, EventKind.LIMIT_REACHED, EventKind.MESSAGE_UNDELIVERED, EventKind.CONFIG_WARNING,
        EventKind.SECRET_SKIPPED, EventKind.LEASE_EXPIRED,
    }
)  # fmt: skip

_SAID: Final = frozenset({"prompt", "text", "choices", "command"})
"""Values that hold what agents are told, say or run."""
_AGENTS_WORDS: Final = frozenset({EventKind.ACTIVITY, EventKind.APPROVAL_ASKED, EventKind.LIMIT_REACHED})
"""Kinds beside those of turns whose reason may be an agent's words."""


def record_of(event: Event, at: float, *, content: bool) -> Record:
    """Make a log record of an event.

    Parameters
    ----------
    at
        When it happened, in seconds since the epoch.
    content
        Whether what agents are told and what they say is told.
    """
    kind = event.kind
    theirs = kind in _AGENTS_WORDS or kind.value.startswith("turn_")
    reason = event.reason if content or not theirs else None
    kept = {name: value for name, value in event.data.items() if content or name not in _SAID}
    attributes = {f"agentd.event.{name}": value for name, value in attributes_of(kept).items()}
    if event.agent is not None:
        attributes[names.AGENT] = event.agent
    conversation, run = text_in(event.data, "conversation"), text_in(event.data, "run")
    if conversation is not None:
        attributes[names.CONVERSATION] = conversation
    said = kind.value.replace("_", " ")
    body = ": ".join(part for part in (event.agent or "agentd", said, reason) if part)
    severity = Severity.ERROR if kind in _ERRORS else Severity.WARN if kind in _WARNINGS else Severity.INFO
    if run is None:
        return Record(at, f"agentd.{kind.value}", severity, body, attributes)
    return Record(at, f"agentd.{kind.value}", severity, body, attributes, trace_id(run), run_span_id(run))
