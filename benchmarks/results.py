"""What was measured, and how it stands to the targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Result:
    """The samples of one measure with one number of agents."""

    measure: str
    population: int
    agentd: Sequence[float]
    floor: Sequence[float]
    note: str = ""


def percentile_99(samples: Sequence[float]) -> float:
    """The sample that 99 % do not exceed."""
    ordered = sorted(samples)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


@dataclass(frozen=True, slots=True)
class Target:
    """How a measure is summed up and what it should reach.

    The first number of agents is held to `limit`; with more agents the same, or less than twice what it was with the
    first, unless `limit_more` says otherwise.
    """

    title: str
    unit: str
    limit: float
    limit_more: float | None = None
    worst: float | None = None
    relative: bool = False
    """The limit counts in floors."""
    under: bool = False
    """The limit itself is too much."""
    summary: Callable[[Sequence[float]], float] = median
    shows_worst: bool = True
    floor: str = ""
    """What the floor is."""


TARGETS: Mapping[str, Target] = {
    "start, replicas": Target(
        "all running, not recorded, from the write of one table with replicas",
        "s", 1.3, 1.5, relative=True, floor="bare control-mode loop",
    ),
    "start, tables": Target(
        "all running, not recorded, from the write of as many tables",
        "s", 1.3, 1.5, relative=True, floor="bare control-mode loop",
    ),
    "start, recorded": Target(
        "all running and recorded, from the write of one table with replicas",
        "s", 1.3, 1.5, relative=True, floor="the loop with a writer on each pane",
    ),
    "add": Target("one agent added, from write to process", "ms", 100, worst=250, floor="one bare new-session"),
    "exit": Target("exit or kill, until the API shows it", "ms", 10, worst=80, floor="pidfd"),
    "idle": Target(
        "idle: agentd, tmux server, client", "% of a core", 0.5, under=True, shows_worst=False, floor="bare tmux server"
    ),
    "forks": Target("idle: processes that forked", "", 0, 0, shows_worst=False, floor="bare tmux server"),
    "api": Target("GET /v1/agents, p99, 30 restart", "ms", 8, under=True, summary=percentile_99, floor="same bytes"),
    "api, crowd": Target(
        "GET /v1/agents, p99, 100 restart", "ms", 16, under=True, summary=percentile_99, floor="same bytes"
    ),
    "stop": Target("SIGTERM until nothing is left", "s", 1.5, floor="bare C-c to all, kill-server"),
    "memory, empty": Target("RSS of agentd without agents", "MB", 60, 60, floor="python with the libraries"),
    "memory, all": Target("RSS of agentd", "MB", 65, 80, floor="python with the libraries"),
    "metrics": Target("GET /metrics", "ms", 20, under=True, floor="same bytes"),
    "metrics, look": Target("GET /metrics that begins a look at processes", "ms", 20, under=True, floor="same bytes"),
    "metrics, cost": Target(
        "a look at all processes every 15 s", "% of a core", 1, under=True, shows_worst=False, floor="none"
    ),
    "events": Target("one event to each of ten followers", "us", 500, floor="same bytes"),
    "journal": Target("a year of events, from any one on", "ms", 50, under=True, floor="from the last one on"),
    "record, launch": Target(
        "recording: CPU for each launch, beside that without", "ms", 3, floor="the same agents, not recorded"
    ),
    "record, print": Target(
        "recording 1 MB/s, 1 write/s each: CPU beside that without", "% of a core", 10, under=True,
        floor="the same agents, not recorded",
    ),
    "record, chatter": Target(
        "recording 1 MB/s, 10 writes/s each: CPU beside that without", "% of a core", 10, under=True,
        floor="the same agents, not recorded",
    ),
    "status": Target("agentctl status, whole process", "ms", 150, under=True, floor="python -c pass"),
}  # fmt: skip
"""By measure, in the order of the table."""

MEASURES = tuple(dict.fromkeys(name.partition(",")[0] for name in TARGETS if name != "forks"))
"""What can be chosen; ``idle`` counts forks too."""

_DEGRADES = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    measure: str
    agents: int
    what: str
    agentd: str
    floor: str
    target: str
    met: bool
    note: str
    samples: Mapping[str, Sequence[float]] = field(repr=False)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def judge(result: Result, first: Result | None) -> Row:
    """Hold a result against its target; `first` is that of the fewest agents, if this is another."""
    target = TARGETS[result.measure]
    value, floor = target.summary(result.agentd), target.summary(result.floor)
    worst, floor_worst = max(result.agentd), max(result.floor)
    shown, shown_floor = _number(value), _number(floor)
    if target.shows_worst:
        shown, shown_floor = f"{shown} (worst {_number(worst)})", f"{shown_floor} ({_number(floor_worst)})"
    limit = target.limit
    if target.relative:
        if first is not None and target.limit_more is not None:
            limit = target.limit_more
        met, wanted = value <= limit * floor, f"{limit:g} x floor"
        shown = f"{shown} = {value / floor:.2f} x"
    elif first is None or target.limit_more is not None:
        if first is not None and target.limit_more is not None:
            limit = target.limit_more
        met, wanted = (value < limit if target.under else value <= limit), f"{limit:g} {target.unit}"
        if target.worst is not None:
            met, wanted = met and worst <= target.worst, f"{wanted}, worst {target.worst:g}"
    else:
        before = target.summary(first.agentd)
        met, wanted = value <= _DEGRADES * before, f"{_DEGRADES:g} x {_number(before)} {target.unit}"
        shown = f"{shown} = {value / before:.2f} x"
    return Row(
        result.measure,
        result.population,
        f"{target.title} [{target.unit}]" if target.unit else target.title,
        shown,
        f"{shown_floor}: {target.floor}",
        wanted,
        met,
        result.note,
        {"agentd": tuple(result.agentd), "floor": tuple(result.floor)},
    )


def judge_all(results: Sequence[Result]) -> list[Row]:
    """The rows of the table, by number of agents and then in the order of `TARGETS`."""
    order = list(TARGETS)
    rows = []
    for result in sorted(results, key=lambda result: (result.population, order.index(result.measure))):
        same = [other for other in results if other.measure == result.measure]
        fewest = min(same, key=lambda other: other.population)
        rows.append(judge(result, None if fewest is result else fewest))
    return rows


def render(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """The table, as text that is Markdown too."""
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    head = ("agents", "measure", "agentd", "floor", "target", "verdict")
    cells = [
        (str(row.agents), row.what, row.agentd, row.floor, row.target, "met" if row.met else "MISSED") for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    ruled = [head, tuple("-" * width for width in widths), *cells]
    lines.append("")
    lines += [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in ruled
    ]
    notes = [f"- {row.agents}, {row.measure}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])
