"""What is told: spans, and the values of their attributes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from agentd.model.events import Detail
from agentd.otel import names

Value: TypeAlias = "str | int | float | bool | tuple[str, ...]"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something in a span."""

    name: str
    at: float
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended; times are seconds since the epoch."""

    name: str
    trace: int
    id: int
    parent: int | None
    start: float
    end: float
    attributes: Mapping[str, Value]
    error: bool = False
    message: str | None = None
    """What went wrong."""
    events: tuple[SpanEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What is known of an agent from its definition."""

    harness: str
    model: str | None = None

    @property
    def provider(self) -> str:
        """Whose model it uses, by the names of the conventions."""
        return names.PROVIDERS.get(self.harness, self.harness)


def message_json(role: str, text: str, finish: str | None = None) -> str:
    """A message as the conventions have it, in JSON: spans hold no objects."""
    message: dict[str, object] = {"role": role, "parts": [{"type": "text", "content": text}]}
    if finish is not None:
        message["finish_reason"] = finish
    return json.dumps([message], ensure_ascii=False)


def text_in(data: Mapping[str, Detail], name: str) -> str | None:
    """A text in an event's data, if there is one."""
    value = data.get(name)
    return value if isinstance(value, str) else None


def whole_in(data: Mapping[str, Detail], name: str) -> int | None:
    """A whole number in an event's data, if there is one."""
    value = data.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def added(before: Value | None, more: Value) -> Value:
    """One value added to another, or instead of none."""
    return before + more if isinstance(before, int | float) and isinstance(more, int | float) else more


def present(values: Mapping[str, Value | None]) -> dict[str, Value]:
    """The values that there are."""
    return {name: value for name, value in values.items() if value is not None}


def attributes_of(values: Mapping[str, Detail]) -> dict[str, Value]:
    """What an event's data is among attributes: an empty value is left out."""
    return present({name: _value(value) for name, value in values.items()})


def _value(value: Detail) -> Value | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(str, value))
    return value
