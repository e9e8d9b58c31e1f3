"""The OpenAPI document is valid, complete, and says what is really answered."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from agentd.api.openapi import describe
from agentd.api.routes import ROUTES
from agentd.model.states import AgentState
from agentd.recording.transcripts.files import TranscriptFiles
from tests.api.memory_source import BACKING_OFF, HEALTH, RUNNING, Answer, MemorySource, ask
from tests.support.transcripts import keep

DOCUMENT: dict[str, Any] = json.loads(json.dumps(describe(ROUTES, "1.2.3")))
TARGETS = {
    **{
        f"/v1/agents/{{name}}/{what}": [f"/v1/agents/{name}/{what}" for name in ("reviewer-0", "nobody", "%FF")]
        for what in ("runs", "log", "screen", "screen?format=json", "log?raw=1", "log?tail=x")
    },
    "/v1/agents/{name}": ["/v1/agents/reviewer-0", "/v1/agents/nobody", "/v1/agents/%FF"],
    "/v1/events": ["/v1/events", "/v1/events?tail=1", "/v1/events?since=yesterday", "/v1/events?follow=1&limit=0"],
}


def closed(schema: Any) -> Any:  # noqa: ANN401
    """The same schema, allowing no property that is not described."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: closed(value) for key, value in schema.items()}
    return {**copy, "additionalProperties": False} if "properties" in copy else copy


def check(answer: Answer, document: dict[str, Any], path: str, method: str = "get") -> None:
    """Hold an answer against what the document says of its path, method and status."""
    import jsonschema  # noqa: PLC0415 (with the validator below 0.3 s of CPU in each process that collects tests)

    responses = document["paths"][path][method]["responses"]
    response = responses.get(str(answer.status), responses["default"])
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if "content" not in response:
        assert answer.body == b""
        return
    assert answer.headers["content-type"] in response["content"]
    if answer.headers["content-type"] != "application/json":
        return
    schema = {**response["content"][answer.headers["content-type"]]["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(
        closed(schema), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(answer.json)


def test_the_document_is_valid_openapi_3_1() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415

    OpenAPIV31SpecValidator(DOCUMENT).validate()


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("path", [route.path for route in ROUTES])
async def test_every_real_answer_is_as_described(
    api: Path, transcripts: TranscriptFiles, path: str, method: str
) -> None:
    served = (await ask(api, "GET", "/v1/openapi.json")).json
    assert isinstance(served, dict)
    keep(transcripts, "reviewer-0", b"printed\r\n")
    targets = [target for known, each in TARGETS.items() if known.partition("?")[0] == path for target in each]
    for target in targets or [path]:
        check(await ask(api, method.upper(), target), served, path, method)


async def test_every_state_and_an_invalid_configuration_are_as_described(api: Path, source: MemorySource) -> None:
    source.statuses[:] = [replace(BACKING_OFF, name=state, state=state) for state in AgentState]
    check(await ask(api, "GET", "/v1/agents"), DOCUMENT, "/v1/agents")
    source.health_now = replace(
        HEALTH,
        config=replace(HEALTH.config, valid=False, error="a:1:1: bad", warnings=["a"], loaded_at=None, digest=None),
    )
    check(await ask(api, "GET", "/v1/health"), DOCUMENT, "/v1/health")


async def test_a_handlers_failure_is_as_described(api: Path, source: MemorySource) -> None:
    source.statuses[:] = [None]  # type: ignore[list-item]  # anything that makes the handler fail
    answer = await ask(api, "GET", "/v1/agents")
    assert answer.status == 500
    check(answer, DOCUMENT, "/v1/agents")


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "sleeping"},
        {"restarts": -1},
        {"pid": 0},
        {"started_at": "yesterday"},
        {"error": 3},
        {"name": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_the_check_of_answers_notices_a_wrong_one(wrong: dict[str, object]) -> None:
    import jsonschema  # noqa: PLC0415

    body = json.dumps({**asdict(RUNNING), **wrong})
    with pytest.raises(jsonschema.ValidationError):
        check(Answer(200, {"content-type": "application/json"}, body.encode()), DOCUMENT, "/v1/agents/{name}")


def test_every_field_of_every_answer_is_explained_and_required() -> None:
    assert "AgentStatus" in DOCUMENT["components"]["schemas"]
    for schema in DOCUMENT["components"]["schemas"].values():
        assert list(schema["properties"]) == schema["required"]
        assert schema["description"]
        for name, described in schema["properties"].items():
            assert described.get("description", "").endswith("."), name
            assert "\n" not in described["description"], name


def test_what_a_value_may_be_is_said_also_where_it_may_be_null() -> None:
    properties = DOCUMENT["components"]["schemas"]["AgentStatus"]["properties"]
    assert properties["restarts"]["minimum"] == 0
    assert properties["pid"]["anyOf"] == [{"type": "integer", "minimum": 1}, {"type": "null"}]
    assert properties["started_at"]["anyOf"] == [{"type": "string", "format": "date-time"}, {"type": "null"}]
    assert properties["state"]["enum"] == [*AgentState]


def test_every_path_answers_with_the_schema_of_its_values() -> None:
    agent = {"$ref": "#/components/schemas/AgentStatus"}
    schemas = {
        path: item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for path, item in DOCUMENT["paths"].items()
        if "application/json" in item["get"]["responses"]["200"]["content"]
    }
    assert schemas == {
        "/v1/health": {"$ref": "#/components/schemas/Health"},
        "/v1/agents": {"type": "array", "items": agent},
        "/v1/agents/{name}": agent,
        "/v1/events": {"type": "array", "items": {"$ref": "#/components/schemas/RecordedEvent"}},
        "/v1/agents/{name}/runs": {"type": "array", "items": {"$ref": "#/components/schemas/RunView"}},
        "/v1/agents/{name}/screen": {"$ref": "#/components/schemas/Screen"},
        "/v1/agents/{name}/processes": {"$ref": "#/components/schemas/AgentProcesses"},
        "/v1/plan": {"$ref": "#/components/schemas/PlanReport"},
        "/v1/openapi.json": {"type": "object", "additionalProperties": True},
    }


def test_the_document_names_every_path_with_its_parameters() -> None:
    assert list(DOCUMENT["paths"]) == [route.path for route in ROUTES]
    for path, item in DOCUMENT["paths"].items():
        in_path = [parameter for parameter in item["parameters"] if parameter["in"] == "path"]
        assert all(f"{{{parameter['name']}}}" in path for parameter in in_path)
        assert path.count("{") == len(in_path)
        assert all(parameter["description"].endswith(".") for parameter in item["parameters"])
