"""Whether a figure stays flat: its trend over a whole soak, robust against single slow samples."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_SAMPLES = 400
"""Pairs of samples grow with the square: 400 make 80 000."""


_FEWEST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a figure may drift over a soak and still count as flat: the larger of both."""

    part: float
    """Of its median."""
    amount: float
    """In its own unit."""


@dataclass(frozen=True, slots=True)
class Trend:
    """The trend of one figure."""

    what: str
    unit: str
    median: float
    worst: float
    per_hour: float
    drift: float
    """From the first sample to the last, along the trend."""
    allowed: float
    samples: int

    @property
    def flat(self) -> bool:
        """A figure may shrink as much as it likes; of too few samples nothing can be said against it."""
        return self.drift <= self.allowed or self.samples < _FEWEST_SAMPLES

    def row(self) -> str:
        """As a line of a Markdown table."""
        verdict = "flat" if self.drift <= self.allowed else "GROWS"
        if self.samples < _FEWEST_SAMPLES:
            verdict = f"{self.samples} samples are too few"
        return (
            f"| {self.what} [{self.unit}] | {self.median:.4g} | {self.worst:.4g} | {self.per_hour:+.3g} "
            f"| {self.drift:+.3g} | {self.allowed:.3g} | {verdict} |"
        )


HEADING = (
    "| figure | median | worst | slope per hour | drift over the soak | allowed | verdict |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Median of the slopes of all pairs (Theil and Sen): a third of the samples may be off without moving it."""
    step = -(-len(points) // _MOST_SAMPLES) or 1
    pairs = itertools.combinations(points[::step], 2)
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairs if after[0] != before[0]]
    return statistics.median(slopes) if slopes else 0.0


def trend(what: str, unit: str, points: Sequence[tuple[float, float]], limit: Limit) -> Trend:
    """Judge samples of (seconds, value)."""
    per_second = slope(points)
    values = [value for _, value in points]
    median = statistics.median(values)
    return Trend(
        what,
        unit,
        median,
        max(values),
        3600 * per_second,
        per_second * (points[-1][0] - points[0][0]),
        max(limit.part * median, limit.amount),
        len(points),
    )
