"""Edits of plain data, which every edited text is checked against."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agentd.jcard.edit.writing import TomlValue

AGENTS: Final = "agents"


class EditError(Exception):
    """An edit that cannot be made; the text says why, and what can."""


def table_of(values: dict[str, object], path: tuple[str | int, ...], field: tuple[str, ...]) -> dict[str, object]:
    """Give the table that holds a field of the agent table at a path, created if it is missing."""
    table: object = values
    for part in path:
        table = table[part]  # type: ignore[index]  # the path of a declaration leads through tables and their arrays
    assert isinstance(table, dict)
    for part in field[:-1]:
        child = table.setdefault(part, {})
        if not isinstance(child, dict):
            child = table[part] = {}
        table = child
    return table


def plain(value: TomlValue) -> object:
    """Give a value in the types that tomllib uses."""
    match value:
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case str():
            return value
        case Sequence():
            return [plain(item) for item in value]
        case _:
            return value


def verified(before: str, after: str, edit: Callable[[dict[str, object]], None]) -> str:
    """Check that a new text says the same as the edit made on plain data.

    Parameters
    ----------
    before, after
        The text, before and after the edit.
    edit
        Makes the same edit in the values of `before`.

    Returns
    -------
    The new text.

    Raises
    ------
    EditError
        If it says something else: a defect, but one that leaves the file alone.
    """
    expected = tomllib.loads(before)
    edit(expected)
    try:
        found = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        found = None
    if found is None or not _same(_without_empty(found), _without_empty(expected)):
        raise EditError("the file is written in a way that this edit cannot be made in; make it by hand, in an editor")
    return after


def _without_empty(values: dict[str, object]) -> dict[str, object]:
    """Drop what has no meaning: an array without agents, and empty environments."""
    agents = values.get(AGENTS)
    tables = [values.get("agent"), *(agents if isinstance(agents, list) else [])]
    for table in tables:
        if isinstance(table, dict) and table.get("env") == {}:
            del table["env"]
    if agents == []:
        del values[AGENTS]
    return values


def _same(one: object, other: object) -> bool:
    """Compare as TOML does: true is not 1, 1 is not 1.0, and not-a-number is itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or one != one)  # noqa: PLR0124 (only not-a-number differs from itself)
