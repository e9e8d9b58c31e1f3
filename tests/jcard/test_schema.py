from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import jsonschema
import pytest

from agentd.jcard.reference import field_reference, field_table
from agentd.jcard.schema import agent_schema, jcard_schema
from agentd.jcard.table import AgentTable
from tests.jcard.loading import load
from tests.support.masterblaster import as_written

PROPERTIES: dict[str, Any] = dict(agent_schema()["properties"])  # type: ignore[call-overload]


def test_the_schema_describes_both_forms_and_leaves_other_tables_alone() -> None:
    schema: Any = jcard_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is True
    assert schema["properties"]["agent"]["$ref"] == "#/$defs/agent"
    assert schema["properties"]["agents"]["items"] == {"$ref": "#/$defs/agent"}
    assert list(schema["$defs"]) == [
        "agent",
        "approve",
        "budget",
        "drop_in",
        "gateway",
        "limits",
        "notify",
        "otel",
        "pool",
        "pools",
        "triggers",
    ]


@pytest.mark.parametrize(("lease", "good"), [("30s", True), ("1h30m", True), ("30", False), (30, False), ("", True)])
def test_the_schema_takes_the_leases_that_the_loader_takes(lease: object, good: bool) -> None:
    assert jsonschema.Draft202012Validator(jcard_schema()).is_valid({"drop_in": {"lease": lease}}) is good


def test_an_agent_table_takes_exactly_the_fields_of_the_model() -> None:
    schema = agent_schema()
    assert list(PROPERTIES) == list(AgentTable.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["harness"]


def test_the_schema_is_plain_json_without_null_or_references() -> None:
    text = json.dumps(agent_schema())
    assert "null" not in text
    assert "$ref" not in text


@pytest.mark.parametrize("field", PROPERTIES)
def test_every_field_is_described_in_a_sentence(field: str) -> None:
    assert PROPERTIES[field]["description"].endswith(".")


@pytest.mark.parametrize("field", [field for field in PROPERTIES if "default" in PROPERTIES[field]])
def test_a_default_of_the_schema_written_out_changes_nothing(field: str) -> None:
    sandboxed = "" if field == "type" else 'type = "sandboxed"\n'
    written = json.dumps(PROPERTIES[field]["default"])
    table = f'[agent]\nname = "x"\nharness = "custom"\n{sandboxed}'
    assert load(f"{table}{field} = {written}\n") == load(table)
    assert load(table).errors == []


def test_the_values_of_enumerations_are_offered() -> None:
    assert PROPERTIES["restart"]["enum"] == ["no", "on-failure", "always", ""]
    assert PROPERTIES["mode"]["enum"] == ["auto", "oneshot", "interactive", ""]
    assert PROPERTIES["type"]["enum"] == ["native", "sandboxed", ""]


def test_registered_harnesses_are_offered() -> None:
    schema: Any = jcard_schema(["codex", "aider"])
    assert schema["$defs"]["agent"]["properties"]["harness"]["examples"] == ["aider", "codex"]


@pytest.mark.parametrize(
    "text", ["30s", "1h30m", "0", "+3s", ".5s", "1.s", "", "30", "-3s", "1d", " 3s", "3S", "1h 3m"]
)
def test_the_pattern_of_durations_agrees_with_the_loader(text: str) -> None:
    accepted = load(f'[agent]\nharness = "codex"\ntimeout = "{text}"\n').errors == []
    assert (re.search(PROPERTIES["timeout"]["pattern"], text) is not None) is accepted


@pytest.mark.parametrize(
    "text", ["a", "A B", "é☃", "a=b", "_agent", "=a", "-a", "^a", "a.b", "a:b", "a#", "a\\b", "$a"]
)
def test_the_pattern_of_sessions_agrees_with_the_loader(text: str) -> None:
    result = load(f'[agent]\nharness = "codex"\nsession = {json.dumps(text, ensure_ascii=False)}\n')
    assert (re.search(PROPERTIES["session"]["pattern"], text) is not None) is (result.errors == [])


@pytest.mark.parametrize("value", ["1GiB", "1.5 MB", "2gib", "1024", "12B", "0", "1G", "", "-1", "1.5"])
def test_the_pattern_of_sizes_agrees_with_the_loader(value: str) -> None:
    pattern = PROPERTIES["memory"]["anyOf"][1]["pattern"]
    result = load(f'[agent]\nharness = "codex"\ntype = "sandboxed"\nmemory = "{value}"\n')
    assert (re.search(pattern, value) is not None) is (result.errors == [])


def test_the_reference_has_a_row_for_every_field_with_its_default() -> None:
    rows = {field.name: field for field in field_reference(agent_schema())}
    assert list(rows) == list(AgentTable.model_fields)
    assert (rows["restart_delay"].type, rows["restart_delay"].default) == ("duration", '"3s"')
    assert rows["success_exit_codes"].type == "list of integers"
    assert rows["secrets"].type == "list of strings or tables"
    assert rows["env"].type == "table of strings"
    assert rows["memory"].type == "size"
    assert rows["restart"].type == 'one of `"no"`, `"on-failure"`, `"always"`'
    assert [name for name, field in rows.items() if field.required] == ["harness"]
    for field in rows.values():
        if field.default is not None:
            tomllib.loads(f"x = {field.default}")


def test_the_reference_is_a_markdown_table() -> None:
    lines = field_table().splitlines()
    assert len(lines) == 2 + len(AgentTable.model_fields)
    assert all(re.fullmatch(r"\|[^|]+\|[^|]+\|[^|]*\|[^|]+\|", line) for line in lines)


def test_a_jcard_of_masterblaster_is_valid_by_the_schema() -> None:
    text = as_written({"type": "native", "harness": "codex"}, {"harness": "custom", "extra_packages": ["git"]})
    validator = jsonschema.Draft202012Validator(jcard_schema())
    assert list(validator.iter_errors(tomllib.loads(text))) == []
    native = text.replace("sandboxed", "native")
    [error] = validator.iter_errors(tomllib.loads(native))
    assert list(error.path) == ["agents", 1]


def test_what_programs_write_for_not_set_is_in_the_schema() -> None:
    assert (PROPERTIES["max_restarts"]["type"], PROPERTIES["max_restarts"]["maxLength"]) == (["integer", "string"], 0)
    assert PROPERTIES["enabled"]["type"] == ["boolean", "string"]
    assert "minLength" not in PROPERTIES["workdir"]
    assert PROPERTIES["harness"]["minLength"] == 1
    for field in ("timeout", "name", "session"):
        assert re.search(PROPERTIES[field]["pattern"], "") is not None
