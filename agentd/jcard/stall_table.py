"""The field ``stall`` of an agent table: how long it may be at work without going on, and what is tried then."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentd.jcard.field_types import Duration, enumeration
from agentd.model.stall import Stall, StallAction
from agentd.text.durations import format_duration
from agentd.text.quoting import quote

EXAMPLE: Final = '{ model = "10m", tool = "30m", action = ["interrupt", "resume"] }'

SHORTEST: Final = 1.0
"""Seconds."""

_DEFAULT: Final = Stall()


def _check_budget(seconds: float) -> float:
    if 0.0 < seconds < SHORTEST:
        shortest = quote(format_duration(SHORTEST))
        raise ValueError(f"found {quote(format_duration(seconds))}, expected at least {shortest}, or 0s for any time")
    return seconds


def _check_actions(actions: list[StallAction]) -> list[StallAction]:
    twice = next((each for number, each in enumerate(actions) if each in actions[:number]), None)
    if twice is not None:
        raise ValueError(f"found {quote(twice)} twice; each is tried once")
    return actions


_Budget = Annotated[Duration, AfterValidator(_check_budget)]
_Action = Annotated[StallAction, Field(strict=False), enumeration([*StallAction])]


class StallTable(BaseModel):
    """The table that ``stall`` is."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    model: _Budget = Field(
        _DEFAULT.model or 0.0,
        description="How long it may wait for its model without a word of it in the record of its program. 0s: any "
        "time.",
        json_schema_extra={"default": format_duration(_DEFAULT.model or 0.0)},
    )
    tool: _Budget = Field(
        _DEFAULT.tool or 0.0,
        description="How long a tool of it may run without a word in that record, and without CPU. 0s: any time.",
        json_schema_extra={"default": format_duration(_DEFAULT.tool or 0.0)},
    )
    action: Annotated[list[_Action], AfterValidator(_check_actions)] = Field(
        list(_DEFAULT.action),
        min_length=1,
        description="What is tried, in this order, each after another such time. interrupt ends the turn, resume "
        "launches it again with its conversation, restart without it, notify is an event alone.",
    )


def stall_of(table: StallTable | None) -> Stall | None:
    """What the field declares."""
    return None if table is None else Stall(table.model or None, table.tool or None, tuple(table.action))
