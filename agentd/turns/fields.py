"""Fields of JSON objects that harnesses wrote: what is missing or of another type is as if it were empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

MOST: Final = 1e14
"""No amount is as large: as milliseconds since the epoch it is the year 5138."""


def text(body: Mapping[str, object], name: str) -> str:
    """A text, empty if there is none."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def mapping(body: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An object, empty if there is none."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def objects(body: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    """The objects of an array, none if there is no such array."""
    value = body.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def number(body: Mapping[str, object], name: str) -> int:
    """A whole number, 0 if there is none."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST else 0


def amount(body: Mapping[str, object], name: str) -> float | None:
    """A number that is not negative, ``None`` if there is none."""
    value = body.get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST
    return float(value) if known and isinstance(value, int | float) else None
