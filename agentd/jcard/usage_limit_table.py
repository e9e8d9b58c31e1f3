"""The field ``on_usage_limit`` of an agent table: an action, or a table."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from agentd.jcard.field_types import Duration, enumeration, whole
from agentd.model.usage_limits import DAY, Hours, LimitAction, UsageLimitPolicy
from agentd.text.durations import format_duration
from agentd.text.quoting import quote, show

ACTION_TAG, LIMIT_TABLE_TAG = "[action]", "[limit table]"
"""Stand in the paths of pydantic's errors for which of both was written."""

_DEFAULT: Final = UsageLimitPolicy(LimitAction.WAIT)
_HOURS: Final = r"([01]?[0-9]|2[0-4])(:([0-5][0-9]))?-([01]?[0-9]|2[0-4])(:([0-5][0-9]))?"


def hours_from_toml(value: object) -> Hours:
    """Parse a span of the day such as ``08-22`` or ``22:30-6``.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = re.fullmatch(_HOURS, value, re.ASCII) if isinstance(value, str) else None
    expected = f'found {show(value)}, expected a span of the day such as "08-22" or "22:30-06:00"'
    if found is None:
        raise ValueError(expected)
    begin, end = (int(found[hour]) * 60 + int(found[minute] or 0) for hour, minute in ((1, 3), (4, 6)))
    if begin >= DAY or end > DAY:
        raise ValueError(f"{expected}, between 00:00 and 24:00")
    if begin == end:
        raise ValueError(f"found {quote(str(value))}, which is no time at all; leave hours out for always")
    return Hours(begin, end)


_Action = Annotated[LimitAction, Field(strict=False), enumeration([*LimitAction])]
_Hours = Annotated[
    Hours,
    BeforeValidator(hours_from_toml),
    WithJsonSchema({"type": "string", "pattern": whole(_HOURS), "examples": ["08-22", "22:30-06:00"]}),
]


class UsageLimitTable(BaseModel):
    """The table that ``on_usage_limit`` may be."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    action: _Action = Field(
        description="wait: the agent goes on once its limit has reset. stop: it is stopped. notify: an event tells, "
        "and nothing else is done."
    )
    jitter: Duration = Field(
        _DEFAULT.jitter,
        description="Agents that wait go on spread over such a span after the reset, each at a moment of its own.",
        json_schema_extra={"default": format_duration(_DEFAULT.jitter)},
    )
    max_resumes: int = Field(
        _DEFAULT.max_resumes,
        ge=0,
        description="How often it goes on by itself until a turn ends well. 0 is no limit.",
    )
    hours: _Hours | None = Field(
        None,
        description="When it may go on, by the agent's local time, such as 08-22, or 22-06 past midnight. "
        "Default: always.",
    )


OnUsageLimit = Annotated[
    Annotated[_Action, Tag(ACTION_TAG)] | Annotated[UsageLimitTable, Tag(LIMIT_TABLE_TAG)],
    Discriminator(lambda written: LIMIT_TABLE_TAG if isinstance(written, dict | UsageLimitTable) else ACTION_TAG),
]


def usage_limit_policy(written: LimitAction | UsageLimitTable | None) -> UsageLimitPolicy | None:
    """What the field declares, whichever way it was written."""
    if written is None:
        return None
    if isinstance(written, LimitAction):
        return UsageLimitPolicy(written)
    return UsageLimitPolicy(written.action, written.jitter, written.max_resumes, written.hours)


def without_effect(written: LimitAction | UsageLimitTable | None) -> tuple[str, ...]:
    """The keys of a table that mean nothing, since the agent does not wait."""
    if not isinstance(written, UsageLimitTable) or written.action is LimitAction.WAIT:
        return ()
    return tuple(sorted(written.model_fields_set - {"action"}))
