"""A table at the top of a jcard for one part of agentd, such as ``[gateway]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agentd.jcard.explain import Fault, faults, field_name
from agentd.jcard.findings import Findings
from agentd.jcard.near import did_you_mean
from agentd.text.quoting import kind

_Table = TypeVar("_Table", bound=BaseModel)


def read_table(
    name: str,
    model: type[_Table],
    document: Mapping[str, object],
    findings: Findings,
    check: Callable[[_Table], Iterable[Fault]],
) -> _Table | None:
    """Read a table; ``None`` where there is none, or the findings have what is wrong with it.

    Parameters
    ----------
    check
        Finds what is wrong with values that are right one by one.
    """
    raw = document.get(name)
    if raw is None:
        return None
    if not isinstance(raw, dict):
        findings.error((name,), f"found {kind(raw)}, expected a table: write [{name}] and its fields below it")
        return None
    for key in raw:
        if key not in model.model_fields:
            close = get_close_matches(key.casefold(), model.model_fields, n=1)
            text = f"unknown key, ignored{did_you_mean(close[0] if close else None)}"
            findings.warning((name, key), text, field=field_name((name, key)))
    table = None
    try:
        table = model.model_validate({key: value for key, value in raw.items() if value != ""})
        wrong = [*check(table)]
    except ValidationError as problem:
        wrong = [*faults(problem, model)]
    for fault in wrong:
        findings.error((name, *fault.path), fault.message, field=field_name((name, *fault.path)))
    return None if wrong else table
