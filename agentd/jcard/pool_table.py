"""The ``[pool]`` table of a jcard: who may have which workers. A drop-in's is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentd.jcard.checks import (
    check_command,
    check_env_name,
    check_env_value,
    check_name,
    check_not_empty,
    check_variable,
)
from agentd.jcard.explain import Fault, expected_choice
from agentd.jcard.field_types import Duration, whole
from agentd.jcard.findings import Findings
from agentd.jcard.part_table import read_table
from agentd.model.pool import (
    MAX_WORKERS,
    MIN_REMAINING_PERCENT,
    USAGE_STALE_AFTER,
    Block,
    PoolDeclaration,
    PoolProvider,
    WorkerIsolation,
)
from agentd.model.spec import AGENT_NAME, ENVIRONMENT_NAME, LoadContext
from agentd.text.durations import format_duration
from agentd.text.quoting import quote, show

TABLE: Final = "pool"

MOST_WORKERS: Final = 1000

_DEFAULT: Final = PoolDeclaration()


def _one_of(choices: tuple[str, ...]) -> BeforeValidator:
    def check(name: object) -> object:
        if name not in choices:
            raise ValueError(f"found {show(name)}, expected one of {', '.join(map(quote, choices))}")
        return name

    return BeforeValidator(check)


def _check_isolations(value: object) -> object:
    known = tuple(map(str, WorkerIsolation))
    if isinstance(value, bool) or (isinstance(value, list) and value and all(each in known for each in value)):
        return value
    raise ValueError(f"found {show(value)}, expected true, false, or a list of {', '.join(map(quote, known))}")


_Name = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": whole(AGENT_NAME)})]
_Text = Annotated[str, AfterValidator(check_not_empty), Field(json_schema_extra={"minLength": 1})]
_Variable = Annotated[
    str, AfterValidator(check_variable), Field(json_schema_extra={"pattern": whole(ENVIRONMENT_NAME)})
]
_Isolations = Annotated[
    bool | list[str],
    BeforeValidator(_check_isolations),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "enum": [*WorkerIsolation]}},
            ]
        }
    ),
]
_Block = Annotated[str, _one_of(tuple(map(str, Block))), WithJsonSchema({"type": "string", "enum": [*Block]})]


class ProviderTable(BaseModel):
    """One ``[[pool.providers]]`` table."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: _Name = Field(description="What --provider takes. That of an installed harness changes how that is run.")
    harness: _Text = Field(description="The harness that its workers run.")
    command: Annotated[list[str], AfterValidator(check_command)] = Field(
        [], description="The command line of the harnesses custom and acp."
    )
    args: list[str] = Field([], description="Arguments added to what the harness builds.")
    model: _Text | None = Field(None, description="Model of workers for which none is named.")
    env: dict[Annotated[str, AfterValidator(check_env_name)], Annotated[str, AfterValidator(check_env_value)]] = Field(
        {}, description="Environment variables of its workers."
    )
    secrets: list[_Variable] | None = Field(
        None, description="Names of the secrets that reach its workers. Default: as for any agent."
    )


class PoolTable(BaseModel):
    """The ``[pool]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    allowed_providers: list[_Text] | None = Field(
        None, description="Ids of the providers that workers may have. Default: all."
    )
    denied_providers: list[_Text] = Field([], description="Ids of those that they may not have; wins.")
    max_workers: int = Field(
        MAX_WORKERS, ge=0, le=MOST_WORKERS, description="Workers at once whose programs have not ended. 0 is none."
    )
    require_isolation: _Isolations = Field(
        default=False,
        description="true: no worker in the repository itself. A list: only these kinds of isolation.",
    )
    min_remaining_percent: float = Field(
        MIN_REMAINING_PERCENT,
        ge=0,
        le=100,
        description="A provider of whose quota less than this is left, as its program said last, gets no worker until "
        "the quota resets. 0 is off.",
    )
    usage_stale_after: Duration | None = Field(
        None,
        description="How old what a program said of its quota may be to count, where it did not say when that resets.",
        json_schema_extra={"default": format_duration(USAGE_STALE_AFTER)},
    )
    block_on: list[_Block] = Field(
        [str(each) for each in _DEFAULT.block_on],
        description="What else keeps a provider from getting workers: limit_reached (an agent of it is at its usage "
        "limit), auth_error (its program says that it is not logged in), usage_stale and usage_unknown (its quota).",
    )
    max_runtime: Duration | None = Field(
        None,
        description="The longest that a worker may live: its timeout is that, or less. Default, and 0s: no limit.",
    )
    allow_keys: bool = Field(default=False, description="Whether agentctl keys may press keys in a worker's terminal.")
    providers: list[ProviderTable] = Field([], description="Providers beside the installed harnesses.")


def read_pool(document: Mapping[str, object], context: LoadContext, findings: Findings) -> PoolDeclaration | None:
    """Read the table; ``None`` where there is none, or the findings have what is wrong with it."""
    if context.drop_in and TABLE in document:
        findings.warning((TABLE,), "ignored: policies for workers stand in the jcard itself", field=TABLE)
        return None

    def check(table: PoolTable) -> list[Fault]:
        return [
            fault
            for index, each in enumerate(table.providers)
            for fault in _contradictions(index, each, table, context)
        ]

    table = read_table(TABLE, PoolTable, document, findings, check)
    return None if table is None else _declaration(table)


def _contradictions(index: int, provider: ProviderTable, table: PoolTable, context: LoadContext) -> list[Fault]:
    place = ("providers", index)
    if provider.harness not in context.harnesses:
        return [Fault((*place, "harness"), expected_choice(provider.harness, sorted(context.harnesses)))]
    traits = context.harnesses[provider.harness]
    found = []
    if provider.command and not traits.takes_command:
        text = f"the harness {quote(provider.harness)} has its own command line; use args to add to it"
        found.append(Fault((*place, "command"), text))
    if provider.model is not None and not traits.takes_model:
        found.append(Fault((*place, "model"), f"the harness {quote(provider.harness)} has no flag for a model"))
    if any(each.id == provider.id for each in table.providers[:index]):
        found.append(Fault((*place, "id"), f"found {quote(provider.id)} twice; each provider needs its own id"))
    return found


def _declaration(table: PoolTable) -> PoolDeclaration:
    return PoolDeclaration(
        allowed_providers=None if table.allowed_providers is None else tuple(table.allowed_providers),
        denied_providers=tuple(table.denied_providers),
        max_workers=table.max_workers,
        require_isolation=_isolations(table.require_isolation),
        min_remaining_percent=table.min_remaining_percent,
        usage_stale_after=USAGE_STALE_AFTER if table.usage_stale_after is None else table.usage_stale_after,
        block_on=tuple(map(Block, table.block_on)),
        max_runtime=table.max_runtime or None,
        allow_keys=table.allow_keys,
        providers=tuple(map(_provider, table.providers)),
    )


def _isolations(written: bool | list[str]) -> tuple[WorkerIsolation, ...] | None:
    if isinstance(written, bool):
        return tuple(each for each in WorkerIsolation if each is not WorkerIsolation.NONE) if written else None
    return tuple(map(WorkerIsolation, written))


def _provider(table: ProviderTable) -> PoolProvider:
    return PoolProvider(
        table.id,
        table.harness,
        tuple(table.command),
        tuple(table.args),
        table.model,
        dict(table.env),
        None if table.secrets is None else tuple(table.secrets),
    )
