"""Types of fields that several tables have, with their JSON Schema."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from agentd.jcard.checks import duration_from_toml
from agentd.text.durations import DURATION_PATTERN, EXAMPLES


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
