"""Tells the journal of one run's turns: what is kept of them, and no more of it than a journal can bear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agentd.model.events import Detail, EventKind
from agentd.turns.activity import Doing
from agentd.turns.conversation import Conversation
from agentd.turns.events import TurnEvent, Usage
from agentd.turns.journal import Allowance, kind_of, told

log = structlog.get_logger(__name__)

Emit = Callable[[str, EventKind, str | None, dict[str, Detail]], None]


class Reporter:
    """Tells of one run.

    Parameters
    ----------
    emit
        Takes what the journal keeps.
    """

    def __init__(self, agent: str, run_id: str, emit: Emit) -> None:
        self._agent = agent
        self._run_id = run_id
        self._emit = emit
        self._allowance = Allowance()
        self.session: str | None = None
        """The harness's id of the conversation."""

    def event(self, event: TurnEvent, conversation: Conversation) -> None:
        """Tell of an event in a turn; `conversation` is what was made of it."""
        kind = kind_of(event)
        if kind is None:
            return
        if not self._allowance.take(asyncio.get_running_loop().time()):
            if self._allowance.first_refused:
                log.warning("turn_events_left_out", agent=self._agent, reason="too many at once")
            return
        reason, data = told(event, conversation)
        if isinstance(event, Usage):
            data["run"] = self._run_id
        self._emit(self._agent, kind, reason, data | self._in_conversation())

    def quota(self, data: dict[str, Detail]) -> None:
        """Tell of a quota."""
        if self._allowance.take(asyncio.get_running_loop().time()):
            self._emit(self._agent, EventKind.TURN_QUOTA, None, data | {"run": self._run_id})

    def activity(self, before: Doing | None, doing: Doing) -> None:
        """Tell of another activity."""
        data: dict[str, Detail] = {"activity": doing.activity.value, "activity_source": doing.source}
        if before is not None:
            data["was"] = before.activity.value
        self._emit(self._agent, EventKind.ACTIVITY, doing.text, data | self._in_conversation())

    def _in_conversation(self) -> dict[str, Detail]:
        return {} if self.session is None else {"conversation": self.session}
