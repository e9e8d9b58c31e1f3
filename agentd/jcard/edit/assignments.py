"""Parse ``key=value`` of a command line into a field of an agent table and a value of its type."""

from __future__ import annotations

import tomllib
from typing import Final

from pydantic import ValidationError

from agentd.jcard.drop_in_table import DropInTable
from agentd.jcard.edit.agents import FieldPath
from agentd.jcard.edit.writing import TomlValue
from agentd.jcard.explain import Fault, faults, field_name
from agentd.jcard.near import near_field
from agentd.jcard.table import UNSET_WHEN_EMPTY, AgentTable
from agentd.text.quoting import quote

_FIELDS: Final = tuple(AgentTable.model_fields)

_TABLE: Final = "env"
"""The one field with keys of its own: ``env.NAME``."""

_EMPTY: Final = ("", '""', "''")
"""An empty text, plain and as TOML."""


class AssignmentError(ValueError):
    """Not a field, or not a valid value; the message says what was expected."""


class FieldValueError(AssignmentError):
    """Not a value that the field takes."""


def parse_assignment(text: str) -> tuple[FieldPath, TomlValue]:
    """Read ``key=value``.

    The value is taken as TOML where that gives what the field holds (``true``, ``3``, ``["a", "b"]``, ``"text"``), else
    as text: ``restart=always``, ``timeout=1h``, ``env.LEVEL=3``.

    Raises
    ------
    AssignmentError
        If it is not an assignment, not a field, or, as a `FieldValueError`, not a value of that field.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise AssignmentError(f"expected key=value, found {quote(text)}")
    path = parse_field(key)
    return path, parse_value(path, value)


def parse_field(text: str, *, known_only: bool = True) -> FieldPath:
    """Read the name of a field, or ``env.NAME``.

    Parameters
    ----------
    text
        As typed.
    known_only
        Whether to refuse unknown fields; a file may contain them by mistake.

    Raises
    ------
    AssignmentError
        If it is not one.
    """
    field, dot, rest = text.strip().partition(".")
    if dot and field == _TABLE and rest:
        return field, rest
    if known_only and (dot or field not in _FIELDS):
        raise AssignmentError(f"an agent has no field {quote(text)}: {_meant(field, rest)}")
    return (text.strip(),)


def _meant(field: str, rest: str) -> str:
    if rest and field in _FIELDS:
        return f"give the whole value, such as {field}='{{ {rest} = … }}'"
    if field in DropInTable.model_fields:
        return f"{field} is of a whole file: write it below [drop_in] in a drop-in"
    close = near_field(field)
    return f"did you mean {close}?" if close else f"the fields are {', '.join(_FIELDS)}, and env.NAME"


def parse_value(path: FieldPath, text: str) -> TomlValue:
    """Read the value of a field.

    Raises
    ------
    FieldValueError
        If the field does not take it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FieldValueError(f"{field_name(path)}: the value is not UTF-8; a jcard holds only that") from None
    if text in _EMPTY and path[0] in UNSET_WHEN_EMPTY and AgentTable.model_fields[path[0]].default != "":
        raise FieldValueError(f"{path[0]}: expected a value, found none; agentctl unset takes the field out")
    literal = _literal(text)
    if literal is not None and not _faults(path, literal):
        return literal
    found = _faults(path, text)
    if not found:
        return text
    if literal is not None and not isinstance(literal, str):
        found = _faults(path, literal)
    fault = found[0]
    hint = f'; write {path[0]}=["…", "…"]' if literal is None and "an array" in fault.message else ""
    raise FieldValueError(f"{field_name((*fault.path,))}: {fault.message}{hint}")


def _literal(text: str) -> TomlValue | None:
    try:
        value = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return None
    # "1\nother = 2" would be two values.
    return value["value"] if value.keys() == {"value"} else None


def _faults(path: FieldPath, value: object) -> list[Fault]:
    """Ask the model of agent tables what is wrong with one value."""
    field = path[0]
    try:
        AgentTable.model_validate({"harness": "x", field: {path[1]: value} if len(path) > 1 else value})
    except ValidationError as error:
        return [fault for fault in faults(error) if fault.path[0] == field]
    return []
