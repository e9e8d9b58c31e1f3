"""JSON views of the snapshot: the encoding and, from the same types, the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from pydantic import JsonValue, TypeAdapter
from pydantic_core import PydanticSerializationError

from agentd.model.json_schema import Positive, Time
from agentd.model.plan_report import PlanReport
from agentd.model.processes import AgentProcesses
from agentd.model.run_view import RunView
from agentd.model.screen import Screen
from agentd.model.status import AgentStatus, Health

JsonObject: TypeAlias = dict[str, JsonValue]
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """Why there is no other answer."""

    error: str
    """What is wrong, in one line."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One thing that happened, as the journal keeps it."""

    seq: Positive
    """Number: higher than that of all events before, over restarts of the daemon too. Some are left out."""
    time: Time
    """When it happened, with milliseconds."""
    agent: str | None
    """Name of the agent; null for the daemon itself."""
    kind: str
    """What happened; more kinds may be added: docs/reference/events.md."""
    reason: str | None
    """Why, or what is wrong, for people."""
    data: dict[str, object]
    """What programs want to know; which values there are depends on the kind."""


class View(Generic[T_contra]):
    """One kind of JSON answer.

    It is encoded straight from the dataclasses: 0.25 ms for 300 agents, where ``json.dumps`` of ``dataclasses.asdict``
    takes 5 ms. Lists are declared as lists: as a ``Sequence`` they take 0.6 ms.
    """

    def __init__(self, kind: type[T_contra]) -> None:
        self.kind = kind
        self._adapter = TypeAdapter(kind)

    def encode(self, value: T_contra) -> bytes:
        """Encode a value as compact JSON in UTF-8.

        Text that is no Unicode (a path with undecodable bytes, say) shows ``?`` in place of each such byte:
        one odd agent must not hide the others.
        """
        try:
            return self._adapter.dump_json(value)
        except PydanticSerializationError:
            plain = self._adapter.dump_python(value)
            return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


T = TypeVar("T")


class ListView(View[list[T]]):
    """A list whose values never change, and of which most are the very values of the answer before.

    Only the others are encoded: the whole list of 300 agents takes 1 ms, and this 0.1.
    """

    def __init__(self, kind: type[list[T]], each: type[T]) -> None:
        super().__init__(kind)
        self._each = View(each)
        self._encoded: dict[int, tuple[T, bytes]] = {}
        """By the value's identity, which no other has while the value is kept here."""

    def encode(self, value: list[T]) -> bytes:
        """Encode a list as `View` does."""
        before, self._encoded = self._encoded, {}
        for each in value:
            key = id(each)
            self._encoded[key] = before.get(key) or (each, self._each.encode(each))
        return b"[%s]" % b",".join(self._encoded[id(each)][1] for each in value)


HEALTH = View(Health)
AGENTS = ListView(list[AgentStatus], AgentStatus)
AGENT = View(AgentStatus)
PLAN = View(PlanReport)
RUNS = View(list[RunView])
SCREEN = View(Screen)
PROCESSES = View(AgentProcesses)
DOCUMENT: View[Mapping[str, object]] = View(dict[str, object])
EVENTS = View(list[RecordedEvent])
ERROR = View(ErrorBody)
