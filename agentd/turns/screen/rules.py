"""Rules for the screen of one harness: what a TOML file says, checked.

``[rows.KIND]`` names a kind of row (`agentd.turns.screen.patterns.RowKind`; a bare regular expression will do),
``[regions.NAME]`` a part of the screen (`Region`), found in the order of the file, and ``[[rules]]`` what is there to
be seen (`Rule`); the first rule that holds wins. A file of a third party is found by the entry point group `GROUP`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentd.files.entry_points import entry_points_of
from agentd.model.states import Activity
from agentd.turns.screen.patterns import RowKind

GROUP = "agentd.screen_rules"
"""Entry points whose name is a harness and whose value a package with ``screen.toml`` in it."""

_Conditions: TypeAlias = dict[str, list[str]]


class RulesError(ValueError):
    """The rules cannot be used; the message says what is wrong with which file."""


@dataclass(frozen=True, slots=True)
class Region:
    """Consecutive rows of the screen."""

    name: str
    above: str | None = None
    """Only above this region; where it is not on the screen, neither is this one."""
    below: str | None = None
    inside: str | None = None
    starts: tuple[RowKind, ...] = ()
    """The rows it begins with, one after the other: the lowest such place. Without, it begins at the top."""
    anyhow: bool = False
    """Begin at the top where no row is like ``starts``."""
    ends: RowKind | None = None
    """Its last row: the first such one after those that it begins with. Without, it ends at the bottom."""
    alone: RowKind | None = None
    """It is not there if such a row is below those it begins with: a program that has ended left it behind."""


@dataclass(frozen=True, slots=True)
class Said:
    """Which rows of a region are the activity's text."""

    since: RowKind | None = None
    """The first of them; its group ``said`` is what counts of it. Without, the first of the region."""
    until: RowKind | None = None
    """The first that is none of them. Without, a blank one."""
    each: RowKind | None = None
    """Only such rows, and of each its group ``said``. Without, all of each row."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One activity, and what has to be seen for it."""

    name: str
    activity: Activity
    region: str
    """Has to be on the screen."""
    rows: tuple[RowKind, ...] = ()
    """Each has to be in the region."""
    never: tuple[RowKind, ...] = ()
    """None of them may be in it."""
    last: RowKind | None = None
    """The last row of the region that is not blank has to be like this."""
    title: re.Pattern[str] | None = None
    """Searched in the title of the pane."""
    said: Said | None = None
    text: re.Pattern[str] | None = None
    """Searched in the text that ``said`` gives: in one line what a narrow screen wraps."""


@dataclass(frozen=True, slots=True)
class ScreenRules:
    """All rules of a harness."""

    regions: tuple[Region, ...]
    rules: tuple[Rule, ...]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise RulesError(f"{text!r} is no regular expression: {error}") from error


def _pattern(text: str | None) -> re.Pattern[str] | None:
    return None if text is None else _compiled(text)


class _Row(_Table):
    text: str
    fg: _Conditions = Field(default_factory=dict)
    bg: _Conditions = Field(default_factory=dict)
    attributes: _Conditions = Field(default_factory=dict)

    def kind(self) -> RowKind:
        """Compile the regular expression.

        Raises
        ------
        RulesError
            If it cannot be, or lacks a group.
        """
        text = _compiled(self.text)
        named = {group for conditions in (self.fg, self.bg, self.attributes) for group in conditions}
        if missing := named - text.groupindex.keys():
            raise RulesError(f"{self.text!r} has no group {', '.join(sorted(missing))}")
        fg, bg, attributes = (
            {group: tuple(wanted) for group, wanted in conditions.items()}
            for conditions in (self.fg, self.bg, self.attributes)
        )
        return RowKind(text, fg, bg, attributes)


class _Region(_Table):
    above: str | None = None
    below: str | None = None
    inside: str | None = None
    starts: list[str] = Field(default_factory=list)
    anyhow: bool = False
    ends: str | None = None
    alone: str | None = None


class _Said(_Table):
    since: str | None = None
    until: str | None = None
    each: str | None = None


class _Rule(_Table):
    name: str
    activity: Activity = Field(strict=False)
    region: str
    rows: list[str] = Field(default_factory=list)
    never: list[str] = Field(default_factory=list)
    last: str | None = None
    title: str | None = None
    said: _Said | None = None
    text: str | None = None


class _File(_Table):
    tried: str
    """The release of the harness that the rules were tried with."""
    rows: dict[str, str | _Row]
    regions: dict[str, _Region]
    rules: list[_Rule]


def parse_rules(text: str) -> ScreenRules:
    """Read the rules of a harness.

    Raises
    ------
    RulesError
        If it is no TOML, or something in it does not exist.
    """
    try:
        table = _File.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise RulesError(str(error)) from error
    kinds = _Kinds({name: (_Row(text=row) if isinstance(row, str) else row).kind() for name, row in table.rows.items()})
    known = list(table.regions)
    for place, (name, region) in enumerate(table.regions.items()):
        for other in (region.above, region.below, region.inside):
            if other is not None and other not in known[:place]:
                raise RulesError(f"region {name}: expected a region that stands before it, found {other!r}")
    if unknown := {rule.region for rule in table.rules}.difference(known):
        raise RulesError(f"rules: there is no region {', '.join(sorted(unknown))}")
    return ScreenRules(
        tuple(
            Region(
                name,
                region.above,
                region.below,
                region.inside,
                kinds.all(region.starts),
                region.anyhow,
                kinds.one(region.ends),
                kinds.one(region.alone),
            )
            for name, region in table.regions.items()
        ),
        tuple(
            Rule(
                rule.name,
                rule.activity,
                rule.region,
                kinds.all(rule.rows),
                kinds.all(rule.never),
                kinds.one(rule.last),
                _pattern(rule.title),
                kinds.said(rule.said),
                _pattern(rule.text),
            )
            for rule in table.rules
        ),
    )


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The kinds of rows of a file."""

    named: Mapping[str, RowKind]

    def one(self, name: str | None) -> RowKind | None:
        if name is None:
            return None
        if name not in self.named:
            raise RulesError(f"there is no kind of row {name!r}; there are {', '.join(sorted(self.named))}")
        return self.named[name]

    def said(self, said: _Said | None) -> Said | None:
        return None if said is None else Said(self.one(said.since), self.one(said.until), self.one(said.each))

    def all(self, names: list[str]) -> tuple[RowKind, ...]:
        return tuple(kind for kind in map(self.one, names) if kind is not None)


def _built_in() -> dict[str, Traversable]:
    folder = files("agentd.turns.screen").joinpath("harnesses")
    return {path.name.removesuffix(".toml"): path for path in folder.iterdir() if path.name.endswith(".toml")}


def harnesses_with_rules() -> list[str]:
    """Name the harnesses that have rules."""
    return sorted({*_built_in(), *(point.name for point in entry_points_of(GROUP))})


@cache
def rules_of(harness: str) -> ScreenRules | None:
    """Give the rules of a harness, read once; ``None`` if there are none.

    Raises
    ------
    RulesError
        If a third party's file cannot be used.
    """
    try:
        path = _built_in().get(harness)
        for point in entry_points_of(GROUP) if path is None else ():
            if point.name == harness:
                path = files(point.value).joinpath("screen.toml")
        return None if path is None else parse_rules(path.read_text(encoding="utf-8"))
    except (OSError, ImportError, UnicodeDecodeError, RulesError) as error:
        raise RulesError(f"the screen rules of {harness} cannot be used: {error}") from error
