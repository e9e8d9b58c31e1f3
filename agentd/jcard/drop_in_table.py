"""The ``[drop_in]`` table: what a drop-in says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from agentd.jcard.checks import check_lease
from agentd.jcard.explain import faults, field_name
from agentd.jcard.field_types import Duration
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.text.quoting import kind

TABLE: Final = "drop_in"
_LEASE: Final = "lease"

_Lease = Annotated[Duration, AfterValidator(check_lease)]


class DropInTable(BaseModel):
    """The ``[drop_in]`` table of a drop-in."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    lease: _Lease | None = Field(
        None,
        description="The file counts only while somebody renews it: its modification time must move within each such "
        "span, or its agents are stopped as if it were removed. Default: it counts for ever.",
    )


def read_lease(document: Mapping[str, object], findings: Findings) -> float | None:
    """Read the lease of a file, in seconds; ``None`` where it counts for ever, or what is written is wrong."""
    raw = document.get(TABLE)
    if raw is None:
        return None
    if not isinstance(raw, dict):
        findings.error((TABLE,), f"found {kind(raw)}, expected a table: write [{TABLE}] and its fields below it")
        return None
    for key in raw:
        if key not in DropInTable.model_fields:
            meant = _LEASE if key.casefold() == _LEASE else None
            findings.warning((TABLE, key), f"unknown key, ignored{did_you_mean(meant)}", field=field_name((TABLE, key)))
    try:
        return DropInTable.model_validate({key: value for key, value in raw.items() if value != ""}).lease
    except ValidationError as error:
        for fault in faults(error):
            path = (TABLE, *fault.path)
            findings.error(path, fault.message, field=field_name(path))
        return None
