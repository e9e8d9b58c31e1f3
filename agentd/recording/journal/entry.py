"""One event of the journal, as it is kept and sent, and which of them a reader wants."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentd.model.events import Event
from agentd.text.timestamps import rfc3339_milliseconds

LONGEST_REASON = 4000
"""Characters that are kept of a reason: a jcard can be wrong in a thousand places."""

LONGEST_BODY = 32 * 1024
"""Bytes of an event as JSON; a longer one is kept without its data."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the journal."""

    seq: int
    time: int
    """Milliseconds since the epoch."""
    agent: str | None
    kind: str
    body: bytes
    """The whole event as compact JSON."""


def entry_of(seq: int, seconds: float, event: Event) -> Entry:
    """Encode an event.

    Parameters
    ----------
    seconds
        When it happened: wall clock, since the epoch.
    """
    reason = event.reason
    if reason is not None and len(reason) > LONGEST_REASON:
        reason = reason[: LONGEST_REASON - 1] + "…"
    kind, time = event.kind.value, rfc3339_milliseconds(seconds)
    values = {"seq": seq, "time": time, "agent": event.agent, "kind": kind, "reason": reason, "data": dict(event.data)}
    # Undecodable bytes of a path, which no JSON can hold, become question marks.
    body = _encode(values).encode("utf-8", "replace")
    if len(body) > LONGEST_BODY:
        body = _encode({**values, "data": {}}).encode("utf-8", "replace")
    return Entry(seq, int(seconds * 1000), event.agent, kind, body)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a reader wants."""

    agents: frozenset[str] = frozenset()
    """Names in lower case; none means all, and what concerns no agent."""
    kinds: frozenset[str] = frozenset()
    """None means all."""

    def matches(self, entry: Entry) -> bool:
        """Whether an event is wanted."""
        if self.kinds and entry.kind not in self.kinds:
            return False
        return not self.agents or (entry.agent is not None and entry.agent.lower() in self.agents)
