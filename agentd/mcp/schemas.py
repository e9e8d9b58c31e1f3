"""JSON Schemas of tools, as short as they can be: a host pays for each byte of them in every turn. Pure."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, JsonValue

Schema = dict[str, JsonValue]

_NEEDLESS = ("title", "default", "$defs")


def outline(model: type[BaseModel], may_be_null: Collection[str] = ()) -> Schema:
    """Give the same of a result, without what is inside its objects: who reads the result sees that.

    Parameters
    ----------
    may_be_null
        Fields that are null, and not left out, where there is nothing.
    """
    whole = compact(model)
    properties = whole.pop("properties")
    assert isinstance(properties, dict)
    whole.pop("required", None)
    outlined = {name: _outlined(each) for name, each in properties.items()}
    nullable = {name: _or_null(each) for name, each in outlined.items() if name in may_be_null}
    return {**whole, "properties": {**outlined, **nullable}}


def _or_null(schema: JsonValue) -> JsonValue:
    return {**schema, "type": [schema["type"], "null"]} if isinstance(schema, dict) else schema


def _outlined(schema: JsonValue) -> JsonValue:
    match schema:
        case {"type": "object"}:
            return {"type": "object"}
        case {"type": "array", "items": items}:
            return {"type": "array", "items": _outlined(items)}
        case _:
            return schema


def compact(model: type[BaseModel]) -> Schema:
    """Give the JSON Schema of a model without titles, defaults and references; what may be null is left out instead."""
    whole: Schema = model.model_json_schema()
    definitions = whole.get("$defs")
    compacted = _compact(whole, definitions if isinstance(definitions, dict) else {})
    assert isinstance(compacted, dict)
    compacted.pop("description", None)
    return compacted


def _compact(value: JsonValue, definitions: Schema) -> JsonValue:
    if isinstance(value, list):
        return [_compact(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(reference := value.get("$ref"), str):
        target = definitions[reference.rpartition("/")[2]]
        assert isinstance(target, dict)
        # A definition's description is for readers of the code; that of this place stands beside the reference.
        own = {key: each for key, each in target.items() if key != "description"}
        return _compact({**own, **{key: each for key, each in value.items() if key != "$ref"}}, definitions)
    if isinstance(choices := value.get("anyOf"), list) and {"type": "null"} in choices:
        others = [each for each in choices if each != {"type": "null"}]
        rest = {key: each for key, each in value.items() if key != "anyOf"}
        if len(others) == 1 and isinstance(others[0], dict):
            return _compact({**others[0], **rest}, definitions)
        return _compact({**rest, "anyOf": others}, definitions)
    kept: Schema = {}
    for key, each in value.items():
        if key == "properties" and isinstance(each, dict):
            kept[key] = {name: _compact(inner, definitions) for name, inner in each.items()}
        elif key not in _NEEDLESS:
            kept[key] = _compact(each, definitions)
    return kept
