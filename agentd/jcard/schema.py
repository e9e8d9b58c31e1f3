"""The JSON Schema of a jcard or drop-in, for editors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from agentd.jcard.approve_tables import ApproveTable
from agentd.jcard.budget_table import BudgetTable
from agentd.jcard.capacity_tables import LimitsTable, PoolsTable
from agentd.jcard.channel_table import ChannelTable
from agentd.jcard.drop_in_table import DropInTable
from agentd.jcard.gateway_table import GatewayTable, TokenTable
from agentd.jcard.notify_tables import NotifyTable
from agentd.jcard.otel_table import OtelTable
from agentd.jcard.place_table import PlaceTable
from agentd.jcard.pool_table import PoolTable, ProviderTable
from agentd.jcard.secret_table import SecretTable
from agentd.jcard.stall_table import StallTable
from agentd.jcard.table import CHECKOUT_FIELDS, PACKAGES_FIELD, UNSET_WHEN_EMPTY, AgentTable
from agentd.jcard.trigger_tables import TriggerTable
from agentd.jcard.usage_limit_table import UsageLimitTable
from agentd.model.spec import AgentType, Isolation

DIALECT: Final = GenerateJsonSchema.schema_dialect


class _TomlSchema(GenerateJsonSchema):
    """Pydantic's schema without null, which TOML lacks."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 (the signature is pydantic's)
        return False


def agent_schema(harnesses: Iterable[str] = ()) -> dict[str, object]:
    """Build the JSON Schema (2020-12) of one agent table.

    Parameters
    ----------
    harnesses
        Names that editors may offer for ``harness``.
    """
    schema: dict[str, Any] = AgentTable.model_json_schema(schema_generator=_TomlSchema)
    tables = schema.pop("$defs")
    secrets, limit = schema["properties"]["secrets"], schema["properties"]["on_usage_limit"]
    secrets["items"] = {"anyOf": [secrets["items"]["oneOf"][0], tables[SecretTable.__name__]]}
    for name, table in (("budget", BudgetTable), ("place", PlaceTable), ("stall", StallTable)):
        described = schema["properties"][name]["description"]
        schema["properties"][name] = {**tables[table.__name__], "description": described}
    limit["anyOf"] = [limit.pop("oneOf")[0], tables[UsageLimitTable.__name__]]
    schema["title"] = "Agent"
    schema["description"] = "One AI coding agent, run in a tmux session of its own."
    names = sorted(harnesses)
    if names:
        schema["properties"]["harness"]["examples"] = names
    for field in UNSET_WHEN_EMPTY - set(schema["required"]):
        _take_empty(schema["properties"][field])
    sandboxed = {"properties": {"type": {"const": AgentType.SANDBOXED.value}}, "required": ["type"]}
    isolated = {
        "properties": {"isolation": {"enum": [Isolation.WORKTREE.value, Isolation.READ_ONLY.value]}},
        "required": ["repo", "isolation"],
    }
    schema["dependentSchemas"] = {
        PACKAGES_FIELD: {"anyOf": [{"properties": {PACKAGES_FIELD: {"maxItems": 0}}}, sandboxed]},
        **{field: {"anyOf": [{"properties": {field: {"const": ""}}}, isolated]} for field in CHECKOUT_FIELDS},
    }
    return schema


def place_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[agents.place]`` table."""
    return PlaceTable.model_json_schema(schema_generator=_TomlSchema)


def drop_in_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[drop_in]`` table."""
    schema = DropInTable.model_json_schema(schema_generator=_TomlSchema)
    for field in schema["properties"].values():
        _take_empty(field)
    return {**schema, "title": "Drop-in", "description": "What only a drop-in says of itself."}


def notify_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of one ``[[notify]]`` table."""
    schema = NotifyTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "Notification", "description": "Who is told what happens."}


def approve_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of one ``[[approve]]`` table."""
    schema = ApproveTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "Approval", "description": "What agents may do without anybody being asked."}


def triggers_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of one ``[[triggers]]`` table."""
    schema = TriggerTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "Trigger", "description": "What starts an agent from outside."}


def gateway_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[gateway]`` table."""
    schema = GatewayTable.model_json_schema(schema_generator=_TomlSchema)
    tables = schema.pop("$defs")
    schema["properties"]["tokens"]["items"] = tables[TokenTable.__name__]
    schema["properties"]["channels"]["items"] = tables[ChannelTable.__name__]
    return {**schema, "title": "Gateway", "description": "What agentd-gateway goes by."}


def pool_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[pool]`` table."""
    schema = PoolTable.model_json_schema(schema_generator=_TomlSchema)
    schema["properties"]["providers"]["items"] = schema.pop("$defs")[ProviderTable.__name__]
    return {**schema, "title": "Pool", "description": "What holds for workers."}


def budget_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[budget]`` table."""
    schema = BudgetTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "Budget", "description": "What agents may use up that do not say it themselves."}


def limits_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[limits]`` table."""
    schema = LimitsTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "Limits", "description": "How many agents run at once."}


def pools_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of one ``[[pools]]`` table."""
    schema = PoolsTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "Slots", "description": "Slots for agents of a repository or an account."}


def otel_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of the ``[otel]`` table."""
    schema = OtelTable.model_json_schema(schema_generator=_TomlSchema)
    return {**schema, "title": "OpenTelemetry", "description": "What is sent to a collector of OpenTelemetry."}


def _take_empty(field: dict[str, Any]) -> None:
    """Let the schema of a scalar accept ``""``, which means "not set"."""
    field.pop("minLength", None)
    for each in field.get("anyOf", [field]):
        match each:
            case {"enum": choices}:
                each["enum"] = [*choices, ""]
            case {"pattern": pattern}:
                each["pattern"] = f"^$|{pattern}"
            case {"type": "integer" | "number" | "boolean" as other} if "anyOf" not in field:
                # maxLength applies to strings only.
                each.update(type=[other, "string"], maxLength=0)


def jcard_schema(harnesses: Iterable[str] = ()) -> dict[str, object]:
    """Build the JSON Schema (2020-12) of a whole jcard.

    Tables other than ``agent`` and ``agents`` belong to other programs and may hold anything.

    Parameters
    ----------
    harnesses
        Names that editors may offer for ``harness``.
    """
    reference = {"$ref": "#/$defs/agent"}
    return {
        "$schema": DIALECT,
        "title": "jcard.toml",
        "description": "The AI coding agents of a machine, as agentd runs them.",
        "type": "object",
        "properties": {
            "agent": {"description": "One agent.", **reference},
            "agents": {"description": "Any number of agents.", "type": "array", "items": reference},
            "notify": {
                "description": "Who is told what happens.",
                "type": "array",
                "items": {"$ref": "#/$defs/notify"},
            },
            "approve": {
                "description": "What agents may do without anybody being asked.",
                "type": "array",
                "items": {"$ref": "#/$defs/approve"},
            },
            "triggers": {
                "description": "What starts agents from outside.",
                "type": "array",
                "items": {"$ref": "#/$defs/triggers"},
            },
            "gateway": {"description": "What agentd-gateway goes by.", "$ref": "#/$defs/gateway"},
            "pool": {"description": "What holds for workers.", "$ref": "#/$defs/pool"},
            "budget": {
                "description": "What agents may use up that do not say it themselves.",
                "$ref": "#/$defs/budget",
            },
            "limits": {"description": "How many agents run at once.", "$ref": "#/$defs/limits"},
            "pools": {
                "description": "Slots for agents of a repository or an account.",
                "type": "array",
                "items": {"$ref": "#/$defs/pools"},
            },
            "otel": {"description": "What is sent to a collector of OpenTelemetry.", "$ref": "#/$defs/otel"},
            "drop_in": {"description": "Of a drop-in: how long it counts.", "$ref": "#/$defs/drop_in"},
        },
        "additionalProperties": True,
        "$defs": {
            "agent": agent_schema(harnesses),
            "approve": approve_schema(),
            "budget": budget_schema(),
            "drop_in": drop_in_schema(),
            "gateway": gateway_schema(),
            "limits": limits_schema(),
            "notify": notify_schema(),
            "otel": otel_schema(),
            "pool": pool_schema(),
            "pools": pools_schema(),
            "triggers": triggers_schema(),
        },
    }
