"""The ``[worker]`` table of a drop-in: what its agent is, beside an agent. Whoever spawns a worker writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentd.jcard.explain import faults, field_name
from agentd.jcard.findings import Findings
from agentd.model.pool import OWNER, WorkerFacts, WorkerIsolation
from agentd.model.spec import LoadContext
from agentd.text.quoting import kind

TABLE: Final = "worker"


class WorkerTable(BaseModel):
    """The table; keys of other versions are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    provider: str
    role: str | None = None
    parent: str | None = None
    spawned_by: str | None = None
    isolation: WorkerIsolation = Field(WorkerIsolation.NONE, strict=False)
    repo: str | None = None
    base: str | None = None
    allowed_paths: tuple[str, ...] = Field((), strict=False)
    spawned_at: str | None = None


def read_worker(document: Mapping[str, object], context: LoadContext, findings: Findings) -> WorkerFacts | None:
    """Read the table; ``None`` where there is none, or the findings have what is wrong with it.

    Outside the folder of workers it belongs to other programs.
    """
    raw = document.get(TABLE)
    if raw is None or context.owner != OWNER:
        return None
    if not isinstance(raw, dict):
        findings.error((TABLE,), f"found {kind(raw)}, expected a table: write [{TABLE}] and its fields below it")
        return None
    try:
        table = WorkerTable.model_validate(raw)
    except ValidationError as problem:
        for fault in faults(problem):
            path = (TABLE, *fault.path)
            findings.error(path, fault.message, field=field_name(path))
        return None
    return WorkerFacts(**dict(table))
