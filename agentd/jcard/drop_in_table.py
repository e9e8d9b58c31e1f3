"""The ``[drop_in]`` table: what a drop-in says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentd.jcard.checks import check_lease
from agentd.jcard.field_types import Duration
from agentd.jcard.findings import Findings
from agentd.jcard.part_table import read_table

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
    return read_table(TABLE, DropInTable, document, findings, lambda _: ()) or DropInTable()
