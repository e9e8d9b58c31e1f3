"""The reference documentation of the fields of an agent table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentd.jcard.schema import agent_schema
from agentd.text.durations import EXAMPLES
from agentd.text.sizes import format_size

_MOST_LISTED: Final = 10
"""Choices that a cell of the table lists."""


@dataclass(frozen=True, slots=True)
class FieldReference:
    """One field as the documentation shows it."""

    name: str
    type: str
    default: str | None
    """As TOML; ``None`` if the meaning tells it, or the field is required."""
    required: bool
    meaning: str


def field_reference(schema: Mapping[str, Any]) -> tuple[FieldReference, ...]:
    """Describe the fields of a table, in their order, by its schema."""
    return tuple(
        FieldReference(
            name=name,
            type=_type(field),
            default=_default(field) if "default" in field else None,
            required=name in schema.get("required", ()),
            meaning=field["description"],
        )
        for name, field in schema["properties"].items()
    )


def field_table() -> str:
    """Write all fields of an agent as a Markdown table."""
    return f"| field | type | default | meaning |\n| --- | --- | --- | --- |\n{field_rows(agent_schema())}"


def field_rows(schema: Mapping[str, Any]) -> str:
    """Write the fields of a table as rows of a Markdown table."""
    rows = []
    for field in field_reference(schema):
        default = "required" if field.required else f"`{field.default}`" if field.default is not None else ""
        rows.append(f"| `{field.name}` | {field.type} | {default} | {field.meaning} |\n")
    return "".join(rows)


def _type(field: dict[str, Any]) -> str:
    match field:
        case {"enum": choices} if len(choices) <= _MOST_LISTED:
            return "one of " + ", ".join(f"`{_toml(choice)}`" for choice in choices if choice)
        case {"anyOf": [{"type": "string"} as one, {"type": "array"} as several]}:
            return f"{_type(one)}, or {_type(several)}"
        case {"anyOf": [one, other]}:
            return f"{_type(one)}, or table" if other["type"] == "object" else "size"
        case {"type": "string", "examples": [*examples]} if examples == [*EXAMPLES]:
            return "duration"
        case {"type": "array", "items": items}:
            return _list_type(items)
        case {"type": "object"}:
            return "table" if "properties" in field else "table of strings"
        case {"type": [scalar, "string"]}:
            return str(scalar)
        case _:
            return str(field.get("type", "string"))


def _list_type(items: dict[str, Any]) -> str:
    match items:
        case {"enum": _}:
            return _type(items).replace("one of", "list of", 1)
        case {"anyOf": kinds}:
            return f"list of {' or '.join(_list_type(kind).removeprefix('list of ') for kind in kinds)}"
        case {"type": "object"}:
            return "list of tables"
        case _:
            return f"list of {_type(items)}s"


def _default(field: dict[str, Any]) -> str:
    """Write a default as somebody would: a size with its unit."""
    value = field["default"]
    return _toml(format_size(value) if _type(field) == "size" and value else value)


def _toml(value: object) -> str:
    """Write a default value; JSON and TOML agree on those that occur."""
    return json.dumps(value)
