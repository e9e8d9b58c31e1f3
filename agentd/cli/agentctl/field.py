"""``--field a.b.c``: one value of a document, for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def field_of(document: object, path: str) -> str:
    """Give a text as it is, and anything else as JSON in one line.

    Raises
    ------
    LookupError
        If there is no such value.
    """
    value = document
    for name in path.split("."):
        value = _step(value, name, path)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _step(value: object, name: str, path: str) -> object:
    if isinstance(value, Mapping) and name in value:
        found: object = value[name]
        return found
    if isinstance(value, Sequence) and not isinstance(value, str) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    names = f"; there is {', '.join(map(str, value))}" if isinstance(value, Mapping) and value else ""
    raise LookupError(f"--field {path}: there is no {name!r}{names}")
