"""Names that are too long: the limit, the length, and what to do are told by each route and table that takes one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agentd.gateway.http.body import validated
from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.managed_bodies import AgentBody
from agentd.gateway.http.managed_reading import read
from agentd.gateway.model.errors import InvalidRequestError


def refused(**more: Any) -> str:  # noqa: ANN401
    try:
        read(validated(AgentBody, {"username": "bob", "name": "helper", **more}))
    except (ApiError, InvalidRequestError) as error:
        return str(error)
    raise AssertionError("it was taken")


def server(name: str = "toy", tool: str = "delete") -> dict[str, Any]:
    return {"mcp": {"servers": {name: {"command": "toy", "tool_calls": [{"name": tool}]}}}}


def channel(name: str) -> dict[str, Any]:
    return {"pubsub_config": {"backend": "redis", "channel_name": name}}


@pytest.mark.parametrize(
    ("more", "field", "length", "most"),
    [
        ({"name": "a" * 64}, "name", 64, 63),
        ({"name": "a" * 63}, "name", 63, 58),
        ({"username": "a" * 33}, "username", 33, 32),
        ({"subagents": [{"name": "a" * 64, "instruction": "x"}]}, "subagents.0.name", 64, 63),
        ({"json_config": server("a" * 64)}, "json_config.mcp.servers", 64, 63),
        ({"json_config": server(tool="a" * 129)}, "json_config.mcp.servers.toy.tool_calls.0.name", 129, 128),
        ({"json_config": {"default_model": "a" * 201}}, "json_config.default_model", 201, 200),
        ({"json_config": channel("a" * 201)}, "json_config.pubsub_config.channel_name", 201, 200),
        ({"harness": "a" * 64}, "harness", 64, 63),
        ({"idempotency_key": "a" * 256}, "idempotency_key", 256, 255),
    ],
)
def test_a_name_that_is_too_long_is_told_the_limit(more: dict[str, Any], field: str, length: int, most: int) -> None:
    said = refused(**more)
    assert said.startswith(field), said
    assert f"{length} characters" in said, said
    assert re.search(rf"expected (the name of a model: )?(1 to|at most) {most}\b", said), said
    assert said.endswith(f"; shorten it by {length - most}"), said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"defualt_model": "x"}, 'json_config.defualt_model: there is no such field; did you mean "default_model"?'),
        (
            {"mcp": {"servers": {"toy": {"comand": "x"}}}},
            'json_config.mcp.servers.toy.comand: there is no such field; did you mean "command"?',
        ),
        (
            {"mcp": {"servers": {"toy": {"command": "x", "tool_calls": [{"nmae": "t", "name": "t"}]}}}},
            'json_config.mcp.servers.toy.tool_calls.0.nmae: there is no such field; did you mean "name"?',
        ),
        ({"surprise": 1}, "json_config.surprise: there is no such field"),
    ],
)
def test_a_misspelt_field_is_told_with_the_one_that_was_meant_wherever_it_stands(
    config: dict[str, Any], said: str
) -> None:
    assert refused(json_config=config) == said


def test_the_longest_names_are_taken() -> None:
    body: dict[str, Any] = {"username": "b" * 32, "name": "a" * 29, "json_config": server("s" * 63, "t" * 128)}
    wanted = read(validated(AgentBody, body))
    assert len(f"{wanted.username}--{wanted.name}") == 63
    assert 'found "a b", expected 1 to 63 letters' in refused(name="a b")
    assert "shorten" not in refused(name="a b")
