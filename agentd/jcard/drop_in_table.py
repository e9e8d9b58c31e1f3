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
    boot: str | None = Field(
        None,
        description="The file counts only in this boot of the machine, by `/proc/sys/kernel/random/boot_id`: in "
        "another one it is as if it were removed, until it is written anew. Default: it counts in every one.",
    )


def read_drop_in(document: Mapping[str, object], findings: Findings) -> DropInTable:
    """Read what a file says of itself; nothing where what is written is wrong."""
    raw = document.get(TABLE)
    if raw is None:
        return DropInTable()
    if not isinstance(raw, dict):
        findings.error((TABLE,), f"found {kind(raw)}, expected a table: write [{TABLE}] and its fields below it")
        return DropInTable()
    for key in raw:
        if key not in DropInTable.model_fields:
            meant = next((field for field in DropInTable.model_fields if key.casefold() == field), None)
            findings.warning((TABLE, key), f"unknown key, ignored{did_you_mean(meant)}", field=field_name((TABLE, key)))
    try:
        return DropInTable.model_validate({key: value for key, value in raw.items() if value != ""})
    except ValidationError as error:
        for fault in faults(error):
            path = (TABLE, *fault.path)
            findings.error(path, fault.message, field=field_name(path))
        return DropInTable()
