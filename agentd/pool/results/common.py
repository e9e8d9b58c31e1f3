"""What several results have; all are frozen values whose field names are the JSON's.

A pydantic ``TypeAdapter`` makes a JSON Schema of each.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from agentd.model.json_schema import Count, JsonSchema, Positive
from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.model.states import Activity

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


Isolation = Annotated[str, JsonSchema({"enum": [*WorkerIsolation]})]
Event = Annotated[str, JsonSchema({"enum": [*WorkerEvent]})]
Doing = Annotated[str, JsonSchema({"enum": [*Activity]})]
Confidence = Annotated[str, JsonSchema({"enum": ["exact", "observed", "declared", "unknown"]})]
"""exact: the program itself says so; observed: seen in its records; declared: somebody wrote it down."""


def document(result: DataclassInstance) -> dict[str, object]:
    """Give a result as a JSON object."""
    return asdict(result)


def size_of(result: DataclassInstance) -> int:
    """Count the bytes of a result as agentctl prints it."""
    return len(json.dumps(document(result), separators=(",", ":")))


def cut(text: str | None, most: int) -> str | None:
    """Cut a text off after some characters."""
    return text if text is None or len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker's program ended, exactly."""

    code: Count | None
    signal: Positive | None
    reason: str | None
    """oom, timed_out, or why it could not be launched."""
