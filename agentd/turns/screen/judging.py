"""Judge a screen: a function of its rows and the pane's title, and of the rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentd.model.states import Activity
from agentd.turns.activity import LONGEST_TEXT
from agentd.turns.screen.patterns import RowKind
from agentd.turns.screen.rules import Region, Rule, Said, ScreenRules, rules_of
from agentd.turns.screen.styled import Row, read_rows

_FRAME = r"[\s─━╌│┃╭╮╰╯▀▄]+"
_UNFRAMED = re.compile(rf"\A{_FRAME}|{_FRAME}\Z")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a screen."""

    activity: Activity = Activity.UNKNOWN
    rule: str | None = None
    """The rule that held; ``None`` if none did."""
    text: str | None = None
    """What is asked, or what failed, on one line."""


@dataclass(slots=True)
class _Found:
    """The regions found so far."""

    rows: Sequence[Row]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """First row, and the one after the last."""
    colours: dict[str, str] = field(default_factory=dict)

    def has(self, kind: RowKind, start: int, end: int) -> bool:
        return any(kind.match(row, self.colours) is not None for row in self.rows[start:end])


def judge_screen(harness: str, ansi: str, title: str) -> Judgement:
    """Say what a captured screen shows; `Activity.UNKNOWN` where the harness has no rules, too.

    Parameters
    ----------
    harness
        As jcards name it.
    ansi
        What ``tmux capture-pane -e -p`` printed.
    title
        The pane's (``#{pane_title}``); may be empty.

    Raises
    ------
    RulesError
        If a third party's rules cannot be used.
    """
    rules = rules_of(harness)
    return Judgement() if rules is None else judge(rules, read_rows(ansi), title)


def judge(rules: ScreenRules, rows: Sequence[Row], title: str) -> Judgement:
    """Say what a screen shows; `Activity.UNKNOWN` where no rule holds.

    Parameters
    ----------
    rules
        Of the harness.
    rows
        See `agentd.turns.screen.styled.read_rows`.
    title
        Of the pane, as the program set it; may be empty.
    """
    found = _Found(rows)
    for region in rules.regions:
        _find(region, found)
    for rule in rules.rules:
        place = found.places.get(rule.region)
        if place is None or not _holds(rule, found, place, title):
            continue
        text = _text(rule.said, found, place)
        if rule.text is None or rule.text.search(text):
            return Judgement(rule.activity, rule.name, _shortened(text))
    return Judgement()


def _find(region: Region, found: _Found) -> None:
    low, high = 0, len(found.rows)
    if not {region.above, region.below, region.inside} <= {None, *found.places}:
        return
    if region.inside is not None:
        low, high = found.places[region.inside]
    if region.above is not None:
        high = found.places[region.above][0]
    if region.below is not None:
        low = found.places[region.below][1]
    place = _place(region, found, low, high)
    if place is None:
        return
    if region.alone is not None and found.has(region.alone, place[0] + len(region.starts), len(found.rows)):
        return
    found.places[region.name] = place
    for kind, row in zip(region.starts, found.rows[place[0] :], strict=False):
        match = kind.match(row, found.colours)
        if match is not None:
            found.colours |= {f"{region.name}.{group}": fg for group, fg in kind.colours(row, match).items()}


def _place(region: Region, found: _Found, low: int, high: int) -> tuple[int, int] | None:
    if not region.starts:
        return (low, high)
    for start in range(high - len(region.starts), low - 1, -1):
        after = start + len(region.starts)
        if all(
            kind.match(row, found.colours) for kind, row in zip(region.starts, found.rows[start:after], strict=True)
        ):
            if region.ends is None:
                return (start, high)
            for last in range(after, high):
                if region.ends.match(found.rows[last], found.colours):
                    return (start, last + 1)
    return (low, high) if region.anyhow else None


def _holds(rule: Rule, found: _Found, place: tuple[int, int], title: str) -> bool:
    if rule.title is not None and rule.title.search(title) is None:
        return False
    if rule.last is not None:
        last = next((row for row in reversed(found.rows[slice(*place)]) if row.text), None)
        if last is None or rule.last.match(last, found.colours) is None:
            return False
    return all(found.has(kind, *place) for kind in rule.rows) and not any(
        found.has(kind, *place) for kind in rule.never
    )


def _text(said: Said | None, found: _Found, place: tuple[int, int]) -> str:
    if said is None:
        return ""
    parts: list[str] = []
    for row in found.rows[slice(*place)]:
        if not parts and said.since is not None:
            match = said.since.match(row, found.colours)
            if match is not None:
                parts.append(match.groupdict().get("said") or row.text)
            continue
        if said.until.match(row, found.colours) if said.until is not None else (parts and not row.text):
            break
        if said.each is None:
            parts.append(row.text)
        elif (match := said.each.match(row, found.colours)) is not None:
            parts.append(match["said"])
    return " ".join(" ".join(_UNFRAMED.sub("", part) for part in parts).split())


def _shortened(text: str) -> str | None:
    return (text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…") or None
