"""From what a program posts to events of a turn. Pure.

``POST /v1/hook/EVENT`` with a JSON object; EVENT is one of `EVENTS`, and its fields are those of the event. What is
missing or of another type is as if it were empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Final, TypeVar

from agentd.turns.adapter import Hook
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
    Outcome,
    PermissionAsked,
    PermissionResolved,
    QuestionAsked,
    Started,
    Text,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)
from agentd.turns.fields import MOST, amount, text
from agentd.turns.quota import QuotaWindow

_Enum = TypeVar("_Enum", bound=StrEnum)


_LONGEST_ID: Final = 200


class _Body:
    """The fields of what was posted."""

    def __init__(self, fields: Mapping[str, object], number: str) -> None:
        self._fields = fields
        self.number = number
        """Stands in for an id that is not given."""

    def text(self, name: str, otherwise: str = "") -> str:
        value = self._fields.get(name)
        return value if isinstance(value, str) and value else otherwise

    def id(self, name: str, otherwise: str = "") -> str:
        """A name of something, the same for the same text, and no longer than is sensible."""
        value = self.text(name, otherwise)
        if len(value) <= _LONGEST_ID:
            return value
        digest = sha256(value.encode(errors="replace")).hexdigest()
        return f"{value[: _LONGEST_ID - len(digest) - 1]}-{digest}"

    def known(self, name: str) -> str | None:
        value = self._fields.get(name)
        return value if isinstance(value, str) else None

    def count(self, name: str) -> int:
        value = self._fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST else 0

    def amount(self, name: str) -> float | None:
        return amount(self._fields, name)

    def flag(self, name: str) -> bool:
        return self._fields.get(name) is not False

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._fields.get(name)
        return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()

    def mapping(self, name: str) -> Mapping[str, object] | None:
        value = self._fields.get(name)
        return value if isinstance(value, dict) else None

    def one_of(self, name: str, kind: type[_Enum], otherwise: _Enum) -> _Enum:
        return next((each for each in kind if each.value == self._fields.get(name)), otherwise)


def _ended(body: _Body) -> TurnEvent:
    outcome = body.one_of("outcome", Outcome, Outcome.COMPLETED)
    failure = body.one_of("failure", Failure, Failure.OTHER) if outcome is Outcome.FAILED else None
    return Ended(outcome, body.known("final_text"), failure, body.known("error"), body.amount("resets_at"))


def _asked(body: _Body) -> TurnEvent:
    return PermissionAsked(
        body.id("request", body.number),
        body.text("name"),
        body.text("text"),
        body.id("tool") or None,
        body.texts("choices"),
        body.mapping("arguments"),
    )


def _question(body: _Body) -> TurnEvent:
    return QuestionAsked(
        body.id("request", body.number), body.text("text"), body.texts("choices"), body.id("tool") or None
    )


def _usage(body: _Body) -> TurnEvent:
    return Usage(
        body.count("input_tokens"),
        body.count("output_tokens"),
        body.count("cache_read_tokens"),
        body.count("cache_write_tokens"),
        body.amount("cost_usd"),
    )


READY: Final = "ready"
"""What a program may post that is no event of a turn: it reads its terminal from now on."""

EVENTS: Final[Mapping[str, Callable[[_Body], TurnEvent]]] = {
    "started": lambda body: Started(body.id("turn", body.number), body.known("prompt")),
    "text_delta": lambda body: TextDelta(body.text("text")),
    "text": lambda body: Text(body.text("text")),
    "tool_started": lambda body: ToolStarted(body.id("tool", body.number), body.text("name"), body.text("text")),
    "tool_completed": lambda body: ToolCompleted(body.id("tool"), body.flag("ok")),
    "permission_asked": _asked,
    "permission_resolved": lambda body: PermissionResolved(
        body.id("request"), body.one_of("decision", Decision, Decision.EXPIRED)
    ),
    "question_asked": _question,
    "usage": _usage,
    "ended": _ended,
}
"""What a program may post, by name."""


QUOTA: Final = "quota"
"""Name of what a program posts of the quota of its account; it is no event of a turn."""


def quota_of(hook: Hook) -> tuple[QuotaWindow, ...]:
    """The window that was posted; none if it does not say how much of it is used."""
    body = hook.body or {}
    used = amount(body, "used_percent")
    if used is None:
        return ()
    name = text(body, "window") or QUOTA
    return (QuotaWindow(name, used, amount(body, "window_seconds"), amount(body, "resets_at")),)


def event_of(hook: Hook, number: str) -> TurnEvent | None:
    """Give the event that was posted; ``None`` if it is not known.

    Parameters
    ----------
    number
        What stands in for an id that the program does not give.
    """
    read = EVENTS.get(hook.name)
    return None if read is None else read(_Body(hook.body or {}, number))
