"""The tables ``[limits]`` and ``[[pools]]`` of a jcard: how many agents run at once. A drop-in's are passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentd.jcard.checks import check_name, check_not_empty, check_path, size_from_toml
from agentd.jcard.explain import Fault
from agentd.jcard.field_types import whole
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.jcard.part_table import read_table
from agentd.jcard.paths import resolve
from agentd.jcard.positions import Path
from agentd.jcard.rule_tables import read_fields, refuse, tables_of
from agentd.model.capacity import EACH, Capacity, SlotPool
from agentd.model.spec import AGENT_NAME, AgentSpec, LoadContext
from agentd.text.quoting import quote
from agentd.text.sizes import SIZE_PATTERN

LIMITS: Final = "limits"
POOLS: Final = "pools"

MOST_RUNNING: Final = 10_000

_Text = Annotated[str, AfterValidator(check_not_empty), Field(json_schema_extra={"minLength": 1})]


class LimitsTable(BaseModel):
    """The ``[limits]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    running: int | None = Field(
        None, ge=1, le=MOST_RUNNING, description="Agents that run at once; the others wait. Default: no limit."
    )
    memory: (
        Annotated[
            int,
            BeforeValidator(size_from_toml),
            AfterValidator(lambda size: size or None),
            WithJsonSchema(
                {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": whole(SIZE_PATTERN)}]}
            ),
        ]
        | None
    ) = Field(
        None,
        description="What the memory of the agents that run may come to together, as each declares it; one that "
        "declares none counts as none. Default, and 0: no limit.",
    )
    one_writer: bool = Field(
        default=True,
        description="Whether two agents that work in one git repository itself, not in worktrees of their own, "
        "never run at once. Read-only checkouts write nothing.",
    )


class PoolsTable(BaseModel):
    """One ``[[pools]]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    name: Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": whole(AGENT_NAME)})] = Field(
        description="What the pool is called where agents wait for it."
    )
    slots: int = Field(ge=1, le=MOST_RUNNING, description="Agents of the pool that run at once.")
    repository: Annotated[str, AfterValidator(check_not_empty), AfterValidator(check_path)] | None = Field(
        None,
        description="Agents that work in this git repository, or in worktrees of it. * is any, each with slots of its "
        "own. Default: wherever they work.",
    )
    account: _Text | None = Field(
        None,
        description="Agents that use this account: their harness, or of workers their provider. * is any, each with "
        "slots of its own. Default: whichever they use.",
    )
    agents: Annotated[list[_Text], Field(min_length=1)] | None = Field(
        None, description="Names of agents, or patterns with * and ?. Default: all."
    )


def read_capacity(document: Mapping[str, object], context: LoadContext, findings: Findings) -> Capacity | None:
    """Read the tables; ``None`` where there are none, or the findings have what is wrong with them."""
    if context.drop_in:
        for name in (LIMITS, POOLS):
            if isinstance(document.get(name), dict | list):
                findings.warning((name,), "ignored: how many agents run at once stands in the jcard itself", field=name)
        return None
    tables = tables_of(POOLS, document, findings)
    pools: dict[str, SlotPool] = {}
    for path, raw in tables:
        pool = _read_pool(path, raw, context, findings)
        if pool is not None and pools.setdefault(pool.name, pool) is not pool:
            fault = Fault(("name",), f"found {quote(pool.name)} twice; each pool needs its own name")
            refuse(path, fault, findings)
    limits = read_table(LIMITS, LimitsTable, document, findings, lambda _: ())
    if not tables and limits is None:
        return None
    limits = limits or LimitsTable()
    return Capacity(limits.running, limits.memory, limits.one_writer, tuple(pools.values()))


def _read_pool(path: Path, raw: Mapping[str, object], context: LoadContext, findings: Findings) -> SlotPool | None:
    unknown = [key for key in raw if key not in PoolsTable.model_fields]
    for key in unknown:
        # A pool that lacks a condition would be about more agents than it says.
        close = get_close_matches(key.casefold(), PoolsTable.model_fields, n=1)
        refuse(path, Fault((key,), f"unknown key{did_you_mean(close[0] if close else None)}"), findings)
    missing = [name for name in ("name", "slots") if raw.get(name, "") == ""]
    for name in missing:
        refuse(path, Fault((name,), "missing"), findings)
    table = None if unknown or missing else read_fields(path, PoolsTable, raw, findings)
    if table is None:
        return None
    repository = table.repository
    if repository is not None and repository != EACH:
        repository = str(resolve(repository, context))
    agents = None if table.agents is None else tuple(table.agents)
    return SlotPool(table.name, table.slots, repository, table.account, agents)


def not_counted(capacity: Capacity | None, specs: Sequence[AgentSpec]) -> tuple[str, ...]:
    """Warn of agents that ``memory`` of ``[limits]`` does not count, and of one that it has no room for."""
    most = None if capacity is None else capacity.memory
    if most is None:
        return ()
    without = [spec.name for spec in specs if spec.enabled and not spec.policy.memory]
    large = [spec.name for spec in specs if spec.enabled and (spec.policy.memory or 0) > most]
    return (
        *((f"[limits] memory does not count {_named(without)}: set memory",) if without else ()),
        *((f"[limits] memory is less than the memory of {_named(large)}: never launched",) if large else ()),
    )


def _named(names: list[str]) -> str:
    shown, more = names[:3], len(names) - 3
    return ", ".join(map(quote, shown)) + (f" and {more} more" if more > 0 else "")
