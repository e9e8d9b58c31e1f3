"""The reference documentation of the fields of an agent table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agentd.jcard.schema import agent_schema


@dataclass(frozen=True, slots=True)
class FieldReference:
    """One field as the documentation shows it."""

    name: str
    type: str
    default: str | None
    """As TOML; ``None`` if the meaning tells it, or the field is required."""
    required: bool
    meaning: str


def field_reference() -> tuple[FieldReference, ...]:
    """Describe all fields in the order of `AgentTable`."""
    schema: dict[str, Any] = agent_schema()
    return tuple(
        FieldReference(
            name=name,
            type=_type(field),
            default=_toml(field["default"]) if "default" in field else None,
            required=name in schema["required"],
            meaning=field["description"],
        )
        for name, field in schema["properties"].items()
    )


def field_table() -> str:
    """Write all fields as a Markdown table."""
    rows = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field in field_reference():
        default = "required" if field.required else f"`{field.default}`" if field.default is not None else ""
        rows.append(f"| `{field.name}` | {field.type} | {default} | {field.meaning} |")
    return "\n".join(rows) + "\n"


def _type(field: dict[str, Any]) -> str:
    match field:
        case {"enum": choices}:
            return "one of " + ", ".join(f"`{_toml(choice)}`" for choice in choices if choice)
        case {"anyOf": _}:
            return "size"
        case {"examples": _, "type": "string"}:
            return "duration"
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}s"
        case {"type": "object"}:
            return "table of strings"
        case {"type": [scalar, "string"]}:
            return str(scalar)
        case _:
            return str(field["type"])


def _toml(value: object) -> str:
    """Write a default value; JSON and TOML agree on those that occur."""
    return json.dumps(value)
