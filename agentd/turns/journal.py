"""What the journal keeps of turns: which events, and how much of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agentd.model.events import Detail, EventKind
from agentd.turns.activity import line
from agentd.turns.conversation import Conversation
from agentd.turns.events import (
    Ended,
    PermissionAsked,
    PermissionResolved,
    QuestionAsked,
    Started,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)

LONGEST_TEXT = 4000
"""Characters that are kept of a message or an answer; it says how many there were."""

_KINDS: Mapping[type, EventKind] = MappingProxyType(
    {
        Started: EventKind.TURN_STARTED,
        ToolStarted: EventKind.TURN_TOOL_STARTED,
        ToolCompleted: EventKind.TURN_TOOL_COMPLETED,
        PermissionAsked: EventKind.TURN_PERMISSION_ASKED,
        PermissionResolved: EventKind.TURN_PERMISSION_RESOLVED,
        QuestionAsked: EventKind.TURN_QUESTION_ASKED,
        Usage: EventKind.TURN_USAGE,
        Ended: EventKind.TURN_ENDED,
    }
)
"""Pieces of answers are not kept: the answer is."""

_A_SECOND, _AT_ONCE = 20.0, 200.0


@dataclass(slots=True)
class Allowance:
    """How many events a run may still have kept: it must not fill the journal."""

    left: float = _AT_ONCE
    at: float = 0.0
    refused: int = 0

    def take(self, now: float) -> bool:
        """Whether one more is kept, at this moment in monotonic seconds."""
        self.left = min(_AT_ONCE, self.left + (now - self.at) * _A_SECOND)
        self.at = now
        if self.left < 1.0:
            self.refused += 1
            return False
        self.left -= 1.0
        self.refused = 0
        return True

    @property
    def first_refused(self) -> bool:
        """Whether the last was the first in a row that is not kept."""
        return self.refused == 1


def kind_of(event: TurnEvent) -> EventKind | None:
    """The journal's kind of an event, ``None`` if it is not kept."""
    return _KINDS.get(type(event))


def told(event: TurnEvent, conversation: Conversation) -> tuple[str | None, dict[str, Detail]]:
    """What is kept of an event: its reason, and its data.

    Parameters
    ----------
    conversation
        After the event.
    """
    # What a turn used is told after its end, when the next may be under way.
    turn = conversation.last if isinstance(event, Usage) else conversation.turn or conversation.last
    data: dict[str, Detail] = {} if turn is None or not turn.id else {"turn": turn.id}
    reason: str | None = None
    match event:
        case Started(_, prompt):
            data |= _text("prompt", prompt)
        case ToolStarted(tool, name, text):
            data |= {"tool": tool, "name": name}
            reason = line(text)
        case ToolCompleted(tool, ok):
            data |= {"tool": tool, "ok": ok}
        case PermissionAsked(request, name, text):
            data |= {"request": request, "name": name}
            reason = line(text)
        case QuestionAsked(request, text, choices):
            data |= {"request": request, "choices": choices}
            reason = line(text)
        case PermissionResolved(request, decision, by):
            data |= {"request": request, "decision": decision.value} | ({} if by is None else {"by": by})
        case Usage():
            data |= _usage(event)
        case Ended(outcome, final_text, failure, error):
            data |= {"outcome": outcome.value} | _text("text", final_text)
            data |= {} if failure is None else {"failure": failure.value}
            reason = None if error is None else line(error)
        case _:
            pass
    return reason, data


def _text(name: str, text: str | None) -> dict[str, Detail]:
    return {} if text is None else {name: text[:LONGEST_TEXT], "characters": len(text)}


def _usage(used: Usage) -> dict[str, Detail]:
    data: dict[str, Detail] = {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cache_read_tokens": used.cache_read_tokens,
        "cache_write_tokens": used.cache_write_tokens,
    }
    return data if used.cost_usd is None else data | {"cost_usd": used.cost_usd}
