"""Types of fields that several tables have, with their JSON Schema."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from agentd.jcard.checks import REAP, check_reap, duration_from_toml, size_from_toml
from agentd.text.durations import DURATION_PATTERN, EXAMPLES
from agentd.text.sizes import SIZE_PATTERN


def enumeration(values: list[str]) -> WithJsonSchema:
    """The schema of a choice."""
    return WithJsonSchema({"type": "string", "enum": values})


def whole(pattern: str) -> str:
    """A regular expression for the whole of a text."""
    return f"^(?:{pattern})$"


Duration = Annotated[
    float,
    BeforeValidator(duration_from_toml),
    WithJsonSchema({"type": "string", "pattern": whole(DURATION_PATTERN), "examples": list(EXAMPLES)}),
]
"""Seconds, written as a Go duration."""

Size = Annotated[
    int,
    BeforeValidator(size_from_toml),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": whole(SIZE_PATTERN)}]}),
]
"""Bytes, as a number or with a unit."""

Reap = Annotated[
    str, AfterValidator(check_reap), Field(json_schema_extra={"pattern": whole(f"{REAP}(?:{DURATION_PATTERN})")})
]
"""When orphans are ended."""
