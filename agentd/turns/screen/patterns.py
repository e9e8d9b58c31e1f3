"""Kinds of rows, told by their text and by the colours of parts of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agentd.turns.screen.styled import Row, Style

Colours = Mapping[str, str]
"""Foreground colours that were seen, by ``REGION.GROUP``."""
NO_COLOURS: Colours = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RowKind:
    """A row that matches a regular expression, and whose named groups are drawn in certain ways."""

    text: re.Pattern[str]
    """Searched in the row's text."""
    fg: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Conditions on the foreground colour of a group, by its name; all of them must hold.

    ``default`` or a number of the palette; ``=GROUP``, the colour of another group of the row; ``~GROUP``, its
    background; ``@REGION.GROUP``, the colour of a group of a row that a region begins with. ``!`` before any of them:
    another colour. A group that is empty, or whose region is not there, meets no condition.
    """
    bg: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The same for the background."""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attributes of a group, ``bold`` for instance, or ``!bold``."""

    def match(self, row: Row, colours: Colours = NO_COLOURS) -> re.Match[str] | None:
        """Match a row.

        Parameters
        ----------
        row
            The row.
        colours
            Of the regions that were found so far.
        """
        found = self.text.search(row.text)
        if found is None:
            return None
        for conditions, ground in ((self.fg, 0), (self.bg, 1)):
            for group, wanted in conditions.items():
                seen = _colours(row, found, group, ground)
                if not seen or not all(_is(colour, seen, row, found, ground, colours) for colour in wanted):
                    return None
        for group, names in self.attributes.items():
            styles = row.styles(*found.span(group))
            if not styles or not all(_has(style, name) for style in styles for name in names):
                return None
        return found

    def colours(self, row: Row, found: re.Match[str]) -> dict[str, str]:
        """Give the foreground colour of each named group that has one colour."""
        seen = {group: _colours(row, found, group, 0) for group in self.text.groupindex}
        return {group: colours.pop() for group, colours in seen.items() if len(colours) == 1}


def _colours(row: Row, found: re.Match[str], group: str, ground: int) -> set[str]:
    start, end = found.span(group)
    styles = row.styles(start, end) if start < end else []
    return {style.bg if ground else style.fg for style in styles}


def _is(wanted: str, seen: set[str], row: Row, found: re.Match[str], ground: int, colours: Colours) -> bool:
    other = wanted.startswith("!")
    name = wanted.removeprefix("!")
    if name.startswith("="):
        allowed = _colours(row, found, name[1:], ground)
    elif name.startswith("~"):
        allowed = _colours(row, found, name[1:], 1)
    elif name.startswith("@"):
        if name[1:] not in colours:
            return False
        allowed = {colours[name[1:]]}
    else:
        allowed = {name}
    return seen.isdisjoint(allowed) if other else seen <= allowed


def _has(style: Style, name: str) -> bool:
    return name.removeprefix("!") not in style.attributes if name.startswith("!") else name in style.attributes
