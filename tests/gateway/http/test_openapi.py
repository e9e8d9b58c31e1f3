"""The document of the interface, and its page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from agentd.gateway.http.openapi import describe
from agentd.gateway.http.route import Route
from agentd.gateway.interface import AT_THE_ROOT, TWICE
from agentd.model.gateway import Scope

DOCUMENT: Any = describe([*TWICE, *AT_THE_ROOT])
SHOWN = [route for route in (*TWICE, *AT_THE_ROOT) if route.shown]


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def test_the_document_is_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_schema_that_is_there_is_used() -> None:
    used = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert used == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("route", SHOWN, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_says_what_it_takes_and_answers(route: Route) -> None:
    found = operation(route)
    assert ("requestBody" in found) == (route.takes is not None)
    assert str(route.status.value) in found["responses"]
    assert ("security" in found) == (route.scope is None)
    named = {each["name"] for each in found.get("parameters", ()) if each["in"] == "path"}
    assert named == set(re.findall(r"\{(\w+)\}", route.path))


def test_what_changes_something_is_not_for_who_may_only_look() -> None:
    for route in SHOWN:
        # A webhook is let in by its signature.
        looks = route.scope in (None, Scope.READ) and route.path != "/triggers/{name}"
        assert (route.method == "GET") == looks, route.path
