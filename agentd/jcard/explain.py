"""Translate pydantic's errors about an agent table into the jcard's terms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agentd.jcard.budget_table import EXAMPLE, BudgetTable
from agentd.jcard.fields_at import fields_at
from agentd.jcard.near import did_you_mean
from agentd.jcard.place_table import PLACE_CHOICES, PlaceTable
from agentd.jcard.secret_table import NAME_TAG, TABLE_TAG, SecretTable
from agentd.jcard.stall_table import EXAMPLE as STALL_EXAMPLE
from agentd.jcard.stall_table import StallTable
from agentd.jcard.usage_limit_table import ACTION_TAG, LIMIT_TABLE_TAG, UsageLimitTable
from agentd.model.approvals import ApprovalAction
from agentd.model.budgets import BreachAction
from agentd.model.limits import OomPolicy
from agentd.model.notification import NoticeFormat
from agentd.model.order import Overlap
from agentd.model.spec import AgentType, ApplyWhen, Isolation, Mode, Network, RestartPolicy, SandboxKind, SecretMode
from agentd.model.stall import StallAction
from agentd.model.telemetry import Signal
from agentd.model.usage_limits import LimitAction
from agentd.text.quoting import kind, printable, quote, show

_CHOICES: Final[dict[str, list[str]]] = {
    "type": [*AgentType],
    "mode": [*Mode],
    "restart": [*RestartPolicy],
    "on_oom": [*OomPolicy],
    "apply": [*ApplyWhen],
    "isolation": [*Isolation],
    "overlap": [*Overlap],
    "sandbox": [*SandboxKind],
    "network": [*Network],
    "format": [*NoticeFormat],
    "decision": [*ApprovalAction],
    "on_breach": [*BreachAction],
    "send": [*Signal],
}

_EXPECTED: Final = {
    "string_type": "a string",
    "model_type": "a table",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "an array, written in [ ]",
    "dict_type": "a table of strings",
}
"""By pydantic's type of error."""

_CONCEALED: Final = frozenset({"env", "secrets", "prompt", "command", "args", "url", "database", "tokens", "endpoint"})
"""Fields whose values may be secret or long: messages give only their type."""


_OF_SECRET: Final = {
    "name": "the name of a secret",
    "to": 'the hosts that it is for, such as ["api.github.com"]',
    "mode": f'"{SecretMode.EGRESS}"',
}
_NO_PLACES: Final = frozenset({"[key]", NAME_TAG, TABLE_TAG, ACTION_TAG, LIMIT_TABLE_TAG})
"""What pydantic adds to the path of an error: that it is in a key, and which of several types was expected."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong value in an agent table."""

    path: tuple[str | int, ...]
    """Path in the table: ``("success_exit_codes", 1)``."""
    message: str


def field_name(path: tuple[str | int, ...]) -> str:
    """Write a path inside an agent table: ``success_exit_codes[1]``, ``env.NAME``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (printable(part) if part.isidentifier() else quote(part))
    return text


def faults(error: ValidationError, model: type[BaseModel] | None = None) -> Iterator[Fault]:
    """Translate each error, except for a missing harness: the loader knows which are registered.

    Parameters
    ----------
    model
        What was read, where the fields of its tables are to be guessed from misspelt ones.
    """
    for details in error.errors(include_url=False):
        if details["type"] == "missing" and len(details["loc"]) == 1:
            continue
        path = tuple(part for part in details["loc"] if part not in _NO_PLACES)
        match path[0]:
            case "secrets":
                message = _about_secret(details, path)
            case "on_usage_limit":
                message = _about_usage_limit(details)
            case "budget":
                message = _about_budget(details, path)
            case "place":
                message = _about_place(details, path)
            case "stall":
                message = _about_stall(details, path)
            case field:
                message = _message(details, str(field))
                if model is not None and details["type"] == "extra_forbidden":
                    close = get_close_matches(str(path[-1]).casefold(), fields_at(model, path[:-1]), n=1)
                    message += did_you_mean(close[0] if close else None)
        yield Fault(path, message)


def one_of(choices: list[str]) -> str:
    """List the allowed values."""
    return f"expected one of {', '.join(quote(choice) for choice in choices)}"


def expected_choice(found: object, choices: list[str]) -> str:
    """Say that a value is none of the choices, and which one may have been meant."""
    message = f"found {show(found)}, {one_of(choices)}"
    close = get_close_matches(found.lower(), choices, n=1) if isinstance(found, str) else []
    return f"{message}; did you mean {quote(close[0])}?" if close else message


def _about_secret(details: ErrorDetails, path: tuple[str | int, ...]) -> str:
    fields = ", ".join(SecretTable.model_fields)
    match details["type"]:
        case "missing":
            return f"missing, expected {_OF_SECRET[str(path[-1])]}"
        case "extra_forbidden":
            return f"unknown key in the table of a secret, expected {fields}"
        case "too_short":
            return f"found an empty array, expected {_OF_SECRET['to']}"
        case "enum":
            return expected_choice(details["input"], [*SecretMode])
        case _:
            return _message(details, "secrets")


def _about_usage_limit(details: ErrorDetails) -> str:
    match details["type"]:
        case "missing":
            return f"missing, {one_of([*LimitAction])}"
        case "extra_forbidden":
            return f"unknown key in the table of a usage limit, expected {', '.join(UsageLimitTable.model_fields)}"
        case "enum":
            return expected_choice(details["input"], [*LimitAction])
        case _:
            return _message(details, "on_usage_limit")


def _about_budget(details: ErrorDetails, path: tuple[str | int, ...]) -> str:
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key, expected {', '.join(BudgetTable.model_fields)}"
        case "enum":
            return expected_choice(details["input"], [*BreachAction])
        case _ if len(path) == 1:
            return f"found {show(details['input'])}, expected a table such as {EXAMPLE}"
        case _:
            return _message(details, "budget")


def _about_place(details: ErrorDetails, path: tuple[str | int, ...]) -> str:
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key in the table place, expected {', '.join(PlaceTable.model_fields)}"
        case "enum":
            return expected_choice(details["input"], PLACE_CHOICES[str(path[-1])])
        case _:
            return _message(details, "place")


def _about_stall(details: ErrorDetails, path: tuple[str | int, ...]) -> str:
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key, expected {', '.join(StallTable.model_fields)}"
        case "enum":
            return expected_choice(details["input"], [*StallAction])
        case "too_short":
            return f"found an empty array, {one_of([*StallAction])}"
        case _ if len(path) == 1:
            return f"found {show(details['input'])}, expected a table such as {STALL_EXAMPLE}"
        case _:
            return _message(details, "stall")


def _message(details: ErrorDetails, field: str) -> str:
    found, kind_of_error = details["input"], details["type"]
    context = details.get("ctx", {})
    shown = kind(found) if field in _CONCEALED else show(found)
    if kind_of_error == "value_error":
        return str(context["error"])
    if kind_of_error == "extra_forbidden":
        return "unknown key"
    if kind_of_error == "enum":
        return expected_choice(found, _CHOICES[field])
    if kind_of_error == "greater_than_equal":
        return f"found {shown}, expected at least {context['ge']}"
    if kind_of_error == "less_than_equal":
        return f"found {shown}, expected at most {context['le']}"
    if kind_of_error in _EXPECTED:
        return f"found {shown}, expected {_EXPECTED[kind_of_error]}{_about_quotes(found, kind_of_error)}"
    return f"found {shown}: {details['msg']}"


def _about_quotes(found: object, kind_of_error: str) -> str:
    if kind_of_error == "string_type" and not isinstance(found, list | dict):
        return " (write it in quotes)"
    if kind_of_error in {"int_type", "bool_type"} and isinstance(found, str):
        return " without quotes"
    return ""
