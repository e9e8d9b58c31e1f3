"""Tables of a jcard that are rules, in an order: ``[[notify]]`` and ``[[approve]]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agentd.jcard.explain import Fault, faults, field_name
from agentd.jcard.findings import Findings
from agentd.jcard.positions import Path
from agentd.text.quoting import kind

_Table = TypeVar("_Table", bound=BaseModel)


def tables_of(name: str, document: Mapping[str, object], findings: Findings) -> list[tuple[Path, Mapping[str, object]]]:
    """Find the tables of a name, each with where it stands; the findings have it if there is something else."""
    raw = document.get(name)
    if raw is None:
        return []
    if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
        findings.error((name,), f"found {kind(raw)}, expected tables: write [[{name}]] and the fields below it")
        return []
    return [((name, index), table) for index, table in enumerate(raw)]


def refuse(path: Path, fault: Fault, findings: Findings) -> None:
    """Say what is wrong with a table."""
    findings.error((*path, *fault.path), fault.message, field=field_name((*path, *fault.path)))


def read_fields(path: Path, model: type[_Table], raw: Mapping[str, object], findings: Findings) -> _Table | None:
    """Read the fields of a table; ``None`` if the findings have what is wrong with them."""
    try:
        return model.model_validate({key: value for key, value in raw.items() if value != ""})
    except ValidationError as problem:
        for fault in faults(problem):
            refuse(path, fault, findings)
        return None
