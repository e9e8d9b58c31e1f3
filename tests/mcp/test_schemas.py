"""Schemas of tools: short, and true of what the tools take and give."""

from __future__ import annotations

import json
from typing import Annotated

import jsonschema
import pytest
from pydantic import Field

from agentd.mcp.agentctl import Agentctl
from agentd.mcp.schemas import compact, outline
from agentd.mcp.tool import Arguments, Result, Tool
from agentd.mcp.toolsets.all import TOOLSETS, Sources, ToolsetError, chosen_tools
from agentd.mcp.untrusted import shown
from agentd.model.pool import WorkerIsolation
from agentd.pool.pool import Pool
from agentd.settings.settings import resolve_settings

LIST_LIMIT = 8192
"""Bytes of the default list, as a host gets it; each is paid for in every turn."""


@pytest.fixture
def sources() -> Sources:
    return Sources(Pool(resolve_settings({}, {"HOME": "/tmp"}, root=False)), Agentctl(()))


class Given(Arguments):
    """Arguments of each kind."""

    name: str
    """Its name"""
    kind: WorkerIsolation = WorkerIsolation.NONE
    many: tuple[str, ...] = ()
    limit: Annotated[int | None, Field(ge=1)] = None


class Inside(Result):
    """A part."""

    a: int


class Given2(Result):
    """A result."""

    parts: tuple[Inside, ...]
    one: Inside | None = None
    text: str | None = None


class WithNull(Result):
    """A result that says it where there is nothing."""

    always = frozenset({"text", "one"})
    text: str | None = None
    one: Inside | None = None
    other: str | None = None


def test_a_schema_has_no_titles_no_defaults_and_no_references() -> None:
    assert compact(Given) == {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "description": "Its name"},
            "kind": {"type": "string", "enum": [*WorkerIsolation]},
            "many": {"type": "array", "items": {"type": "string"}},
            "limit": {"type": "integer", "minimum": 1},
        },
    }


def test_an_outline_leaves_out_the_inside_of_objects() -> None:
    assert outline(Given2) == {
        "type": "object",
        "properties": {
            "parts": {"type": "array", "items": {"type": "object"}},
            "one": {"type": "object"},
            "text": {"type": "string"},
        },
    }


def test_what_may_be_null_is_said_and_shown() -> None:
    schema = outline(WithNull, WithNull.always)
    given = shown(WithNull(), None)
    assert given == {"text": None, "one": None}
    jsonschema.validate(given, schema)
    jsonschema.validate(shown(WithNull(one=Inside(a=1), text="x"), None), schema)
    assert schema["properties"] == {
        "text": {"type": ["string", "null"]},
        "one": {"type": ["object", "null"]},
        "other": {"type": "string"},
    }


def listed(tools: list[Tool]) -> str:
    """Write a list of tools as a host gets it."""
    return json.dumps(
        {"tools": [json.loads(tool.declaration.model_dump_json(by_alias=True, exclude_none=True)) for tool in tools]},
        separators=(",", ":"),
    )


def test_the_default_list_is_short(sources: Sources) -> None:
    assert len(listed(list(chosen_tools(sources, ["default"])))) <= LIST_LIMIT


@pytest.mark.parametrize("toolset", TOOLSETS)
def test_every_tool_says_what_it_takes_gives_and_does(sources: Sources, toolset: str) -> None:
    for tool in chosen_tools(sources, [toolset]):
        declared = tool.declaration
        assert declared.description
        jsonschema.Draft202012Validator.check_schema(declared.input_schema)
        assert declared.output_schema is not None
        jsonschema.Draft202012Validator.check_schema(declared.output_schema)
        hints = declared.annotations
        assert hints is not None
        assert None not in (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint)
        assert not (hints.read_only_hint and hints.destructive_hint)


def test_the_default_tools_say_truly_what_they_do_to_the_world(sources: Sources) -> None:
    hints = {tool.name: tool.declaration.annotations for tool in chosen_tools(sources, ["default"])}
    assert {name for name, each in hints.items() if each and each.read_only_hint} == {
        *("inventory", "get_usage", "observe_workers", "read_transcript"),
    }
    assert {name for name, each in hints.items() if each and each.destructive_hint} == {
        *("answer_request", "terminate_worker"),
    }
    assert {name for name, each in hints.items() if each and not each.idempotent_hint} == {
        *("spawn_worker", "send_message", "answer_request", "collect_work"),
    }


def test_tools_are_chosen_by_name_of_any_toolset(sources: Sources) -> None:
    assert [tool.name for tool in chosen_tools(sources, ["default"], ["plan", "spawn_worker"])] == [
        "plan",
        "spawn_worker",
    ]
    every = chosen_tools(sources, TOOLSETS)
    assert len({tool.name for tool in every}) == len(every)


def test_what_there_is_not_is_refused_by_name(sources: Sources) -> None:
    with pytest.raises(ToolsetError, match="no toolset 'none': there are default, agents"):
        chosen_tools(sources, ["none"])
    with pytest.raises(ToolsetError, match="no tool 'none'"):
        chosen_tools(sources, ["default"], ["none"])
