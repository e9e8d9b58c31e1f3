"""Emits the events of all agents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agentd.model.events import Event, EventSink
from agentd.supervise.accounts import Accounts


@dataclass(frozen=True, slots=True)
class Emitter:
    """Tells the accounts of an event, and passes it on.

    Parameters
    ----------
    sink
        Takes each event.
    redact
        Takes secret values out of a text.
    accounts
        What events tell of the accounts of providers.
    wall
        Seconds since the epoch.
    """

    sink: EventSink
    redact: Callable[[str], str]
    accounts: Accounts
    wall: Callable[[], float]

    def emit(self, event: Event) -> None:
        """Emit an event; secret values are redacted from its reason, which is free text."""
        self.accounts.take(event.kind, event.agent, event.data, self.wall())
        self.sink(event if event.reason is None else replace(event, reason=self.redact(event.reason)))
