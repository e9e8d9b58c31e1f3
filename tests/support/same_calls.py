"""The tables "The same calls" of the pages for who comes from elsewhere: each call is typed as it stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

Check = str | Callable[[str], object]
"""A pattern that is found in what is printed, or a test of it."""

_CODE = re.compile(r"`([^`]+)`")


def rows(page: str, title: str = "The same calls") -> list[tuple[list[str], list[str]]]:
    """What was typed, and what is typed now, of each row of a table."""
    table = re.compile(rf"^## {title}$.*?(?=^## )", re.MULTILINE | re.DOTALL)
    (found,) = table.findall((ROOT / page).read_text())
    lines = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in found.splitlines() if line.startswith("| `")]
    assert all(len(row) == 2 and _CODE.search(row[0]) for row in lines), lines
    return [(_CODE.findall(before), _CODE.findall(now)) for before, now in lines]


def documents(*path: str | int, is_: object = ...) -> Callable[[str], object]:
    """Say that what is printed is JSON with something at a place."""

    def check(printed: str) -> bool:
        found: Any = json.loads(printed)
        for step in path:
            found = found[step]
        return is_ is ... or found == is_

    return check


def hold(page: str, checks: Mapping[str, Check], typed: Callable[[str], str]) -> None:
    """Type each call of a page in its order."""
    now = [call for _, calls in rows(page) for call in calls]
    assert now == [*checks], "what is expected of each call, in the page's order"
    for call, check in checks.items():
        printed = typed(call)
        good = re.search(check, printed) if isinstance(check, str) else check(printed)
        assert good, (call, printed)
