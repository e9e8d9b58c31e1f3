"""The OpenAPI 3.1 document: paths from the route table, schemas from the dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Never

from aiohttp import hdrs
from pydantic import ConfigDict, JsonValue, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from agentd.api.responses import ALLOW, JSON
from agentd.api.route import Route
from agentd.api.views import ERROR, JsonObject, View

_DESCRIPTION = (
    f"Served on a Unix socket, read only: {ALLOW}. Any other method, on any path, is answered by "
    f"{HTTPStatus.METHOD_NOT_ALLOWED.value} with `{hdrs.ALLOW}: {ALLOW}`. Times are RFC 3339 in UTC. "
    "New fields may be added; within `/v1` none is removed or changes its meaning."
)
_SCHEMAS = "#/components/schemas/"
_RESPONSES = "#/components/responses/"
_DESCRIBED = ConfigDict(use_attribute_docstrings=True)


def describe(routes: Sequence[Route], version: str) -> JsonObject:
    """Build the document of these routes."""
    views = {route.path: route.view for route in routes if route.view is not None}
    schemas = _Schemas.of([*views.values(), ERROR])
    *answers, error = schemas.answers
    in_json = dict(zip(views, answers, strict=True))
    paths: JsonObject = {route.path: _operations(route, in_json.get(route.path), error) for route in routes}
    responses: JsonObject = {
        "Error": _error_response("Any other error.", error),
        "HeadError": {"description": "Any error; GET says which."},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentd status API", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "http://localhost", "description": "The host is ignored: requests go to the socket."}],
        "paths": paths,
        "components": {"schemas": schemas.named, "responses": responses},
    }


def _operations(route: Route, answer: JsonValue, error: JsonValue) -> JsonObject:
    parameters: list[JsonValue] = [
        {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in route.parameters.items()
    ]
    parameters += [
        {"name": name, "in": "query", "description": parameter.text, "schema": dict(parameter.schema)}
        for name, parameter in route.query.items()
    ]
    content: JsonObject = {} if route.view is None else {route.media_type: {"schema": answer}}
    for media_type, text in route.texts.items():
        content[media_type] = {"schema": {"type": "string", "description": text}}
    errors: JsonObject = {str(status.value): _error_response(text, error) for status, text in route.errors.items()}
    description = f"{route.summary}."
    get: JsonObject = {
        "operationId": route.operation,
        "summary": route.summary,
        "responses": {
            "200": {"description": description, "content": content},
            **errors,
            "default": {"$ref": _RESPONSES + "Error"},
        },
    }
    head: JsonObject = {
        "operationId": f"{route.operation}Head",
        "summary": f"The headers of: {route.summary}",
        "responses": {"200": {"description": description}, "default": {"$ref": _RESPONSES + "HeadError"}},
    }
    return {"parameters": parameters, "get": get, "head": head}


def _error_response(description: str, schema: JsonValue) -> JsonObject:
    return {"description": description, "content": {JSON: {"schema": schema}}}


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that only repeat the fields' names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


@dataclass(frozen=True, slots=True)
class _Schemas:
    answers: Sequence[JsonValue]
    """In the order of the views."""
    named: JsonObject
    """What the answers refer to."""

    @classmethod
    def of(cls, views: Sequence[View[Never]]) -> _Schemas:
        """Generate them; fields are described by the docstrings that follow them."""
        adapters = {view: TypeAdapter(list[view.kind], config=_DESCRIBED) for view in views}  # type: ignore[name-defined]
        by_view, shared = TypeAdapter.json_schemas(
            [(view, "serialization", adapter) for view, adapter in adapters.items()],
            ref_template=_SCHEMAS + "{model}",
            schema_generator=_WithoutTitles,
        )
        # Of a dataclass itself, pydantic takes no configuration from outside.
        return cls([by_view[view, "serialization"]["items"] for view in views], shared["$defs"])
