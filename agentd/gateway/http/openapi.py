"""``/openapi.json``: the OpenAPI 3.1 document, paths from the routes and schemas from their models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from agentd import __version__
from agentd.gateway.http.bodies import Key, KeyedBody
from agentd.gateway.http.body import JsonObject
from agentd.gateway.http.errors import JSON, MANAGED_PREFIX, OPENAI_PREFIX, is_below
from agentd.gateway.http.idempotent import HEADER
from agentd.gateway.http.managed_shapes import ManagedErrorShape
from agentd.gateway.http.route import Route
from agentd.gateway.http.shapes import ErrorShape, OpenAIErrorShape
from agentd.gateway.model.objects import encoded

_DESCRIPTION: Final = (
    "Sessions are conversations with the agents that agentd runs; runs are the turns in them. Sessions, runs and "
    "events are below `/api/v1`, too. Times are RFC 3339 in UTC. New fields may be added; none is removed or changes "
    "its meaning."
)
_REFERENCE: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class _Schema(GenerateJsonSchema):
    """Leaves out the titles that only repeat the fields' names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 (the signature is pydantic's)
        return False


def describe(routes: Iterable[Route]) -> JsonObject:
    """Build the document of these routes."""
    shown = [route for route in routes if route.shown]
    models: dict[tuple[type, JsonSchemaMode], None] = {}
    for route in shown:
        if route.takes is not None:
            models[route.takes, "validation"] = None
        if route.query is not None:
            models[route.query, "validation"] = None
        if route.answers is not None:
            models[route.answers, "serialization"] = None
        models[_error(route), "serialization"] = None
    adapters = [(model, mode, TypeAdapter[object](model)) for model, mode in models]
    made, document = TypeAdapter.json_schemas(adapters, ref_template=_REFERENCE, schema_generator=_Schema)
    by_model: _Schemas = {key: made[key] for key in models}
    schemas: dict[str, JsonObject] = document["$defs"]
    paths: dict[str, JsonObject] = {}
    for route in shown:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_model, schemas)
    for query in {route.query for route in shown if route.query is not None}:
        # Its fields are parameters.
        schemas.pop(str(by_model[query, "validation"]["$ref"]).rpartition("/")[2], None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentd-gateway", "version": __version__, "description": _DESCRIPTION},
        "paths": {**paths},
        "components": {
            "schemas": {**schemas},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


_Schemas = Mapping[tuple[type, JsonSchemaMode], JsonObject]


def _operation(route: Route, by_model: _Schemas, schemas: Mapping[str, JsonObject]) -> JsonObject:
    words = re.findall(r"\w+", f"{route.method.lower()} {route.path}")
    operation: JsonObject = {
        "operationId": words[0] + "".join(word.capitalize() for word in words[1:]),
        "summary": route.summary,
        "tags": [_tag(route.path)],
    }
    if route.scope is None:
        operation["security"] = []
    parameters = [*_in_path(route), *_in_query(route, by_model, schemas), *_in_headers(route)]
    if parameters:
        operation["parameters"] = [*parameters]
    if route.takes is not None:
        schema = by_model[route.takes, "validation"]
        operation["requestBody"] = {"required": _needs(route.takes), "content": {JSON: {"schema": schema}}}
    answer: JsonObject = {"description": f"{route.summary}.", "content": _success(route, by_model)}
    content: JsonObject = {JSON: {"schema": by_model[_error(route), "serialization"]}}
    responses: JsonObject = {str(route.status.value): answer}
    for status, text in _errors(route).items():
        responses[str(status.value)] = {"description": text, "content": content}
    responses["default"] = {"description": "Any other error.", "content": content}
    operation["responses"] = responses
    return operation


def _success(route: Route, by_model: _Schemas) -> JsonObject:
    text: JsonObject = {"schema": {"type": "string"}}
    found: JsonObject
    if route.answers is not None:
        found = {route.media_type: {"schema": by_model[route.answers, "serialization"]}}
    elif route.media_type != JSON:
        found = {route.media_type: text}
    else:
        found = {JSON: {"schema": {"type": "object"}}}
    return found if route.streamed_as is None else {**found, route.streamed_as: text}


def _error(route: Route) -> type[BaseModel]:
    if is_below(route.path, MANAGED_PREFIX):
        return ManagedErrorShape
    return OpenAIErrorShape if is_below(route.path, OPENAI_PREFIX) else ErrorShape


def _errors(route: Route) -> Mapping[HTTPStatus, str]:
    errors: dict[HTTPStatus, str] = {}
    if route.takes is not None:
        errors[HTTPStatus.BAD_REQUEST] = "The body is not JSON, or is nested too deeply."
        errors[HTTPStatus.REQUEST_ENTITY_TOO_LARGE] = "The body is too large."
        errors[HTTPStatus.UNSUPPORTED_MEDIA_TYPE] = "The body is of another type."
    if route.takes is not None or route.query is not None:
        errors[HTTPStatus.UNPROCESSABLE_ENTITY] = "A field or parameter has a value that cannot be used."
    if route.scope is not None:
        errors[HTTPStatus.UNAUTHORIZED] = "There is no valid token."
        errors[HTTPStatus.FORBIDDEN] = "The token is not for this."
    if "{" in route.path:
        errors[HTTPStatus.NOT_FOUND] = "There is no such object, or it is somebody else's."
    return dict(sorted({**errors, **route.errors}.items()))


def _needs(model: type[BaseModel]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())


def _tag(path: str) -> str:
    first = path.split("/")[1]
    return "openai" if is_below(path, OPENAI_PREFIX) else first


def _in_path(route: Route) -> Sequence[JsonObject]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]


def _in_query(route: Route, by_model: _Schemas, schemas: Mapping[str, JsonObject]) -> Sequence[JsonObject]:
    if route.query is None:
        return []
    schema = schemas[str(by_model[route.query, "validation"]["$ref"]).rpartition("/")[2]]
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    parameters: list[JsonObject] = []
    for name, given in properties.items():
        assert isinstance(given, dict)
        field = _without_null(given)
        parameter: JsonObject = {"name": name, "in": "query", "schema": field}
        if "description" in field:
            parameter["description"] = field.pop("description")
        parameters.append(parameter)
    return parameters


def _without_null(schema: JsonObject) -> JsonObject:
    """Leave out null, which no query can say: a parameter is given or not."""
    choices = schema.get("anyOf")
    if not isinstance(choices, list):
        return dict(schema)
    kept = [choice for choice in choices if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default") or value is not None}
    rest.pop("anyOf", None)
    only = kept[0] if len(kept) == 1 else None
    return {**rest, **only} if isinstance(only, dict) else {**rest, "anyOf": kept}


def _in_headers(route: Route) -> Sequence[JsonObject]:
    if route.takes is None or not issubclass(route.takes, KeyedBody):
        return []
    text = "Names the request: another one with the same name and body is answered the same, and has no effect."
    return [{"name": HEADER, "in": "header", "description": text, "schema": TypeAdapter(Key).json_schema()}]


class Document:
    """The document of an application, made when it is first asked for: that takes 0.2 s of CPU."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)
        self._made: bytes | None = None
        self._one_at_a_time = asyncio.Lock()

    async def encoded(self) -> bytes:
        """Give it as JSON."""
        async with self._one_at_a_time:
            if self._made is None:
                self._made = await asyncio.to_thread(lambda: encoded(describe(self._routes)))
            return self._made


DOCUMENT: web.AppKey[Document] = web.AppKey("document", Document)


async def _document(request: web.Request) -> web.Response:
    return web.Response(body=await request.app[DOCUMENT].encoded(), headers={hdrs.CONTENT_TYPE: JSON})


ROUTES = (Route("GET", "/openapi.json", _document, "Describe the interface"),)
