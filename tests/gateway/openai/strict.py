"""The official client's models, made strict: nothing is coerced, and no field is there that they do not have.

The client itself takes whatever comes, so that a wrong object only shows where somebody uses the wrong field.
"""

from __future__ import annotations

import json
from functools import cache

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator


def check(shape: object, value: object) -> None:
    """Validate a value as it goes over the wire against a model of the client."""
    _validator(shape).validate_json(json.dumps([value]))


@cache
def _validator(shape: object) -> SchemaValidator:
    # In a list, since the client's models are built when they are first used.
    schema = TypeAdapter(list[shape]).core_schema  # type: ignore[valid-type] # the client's unions are no types
    tightened = _tighten(schema)
    assert isinstance(tightened, dict)
    # Validators that the client has built are not what was tightened.
    return SchemaValidator(tightened, None, False)


def _tighten(node: object) -> object:
    if isinstance(node, list | tuple):
        return type(node)(_tighten(each) for each in node)
    if not isinstance(node, dict):
        return node
    found: dict[str, object] = {name: _tighten(each) for name, each in node.items() if name != "serialization"}
    if found.get("type") == "model-fields":
        found["extra_behavior"] = "forbid"
        fields = found.get("fields")
        if found.get("model_name") == "Response" and isinstance(fields, dict):
            # OpenAI answers it, and its client's model lacks it.
            found["fields"] = {**fields, "store": {"type": "model-field", "schema": {"type": "bool"}}}
    if found.get("type") == "model":
        config = found.get("config")
        known = config if isinstance(config, dict) else {}
        found["config"] = {**known, "extra_fields_behavior": "forbid", "strict": True}
    return found
