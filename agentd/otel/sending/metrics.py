"""Metrics as the SDK has them, from those of /metrics."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from agentd.recording.metrics.measures import Buckets, Family, Labels, MetricType

_UNITS: Final = {"_seconds": "s", "_bytes": "By"}
"""What Prometheus' names end with is a unit here; a Prometheus that takes these in gives them the names of /metrics."""

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def metrics_data(
    families: Sequence[Family], resource: Resource, scope: InstrumentationScope, since: float, at: float
) -> MetricsData:
    """Make what an exporter takes; metrics without a value are left out.

    Parameters
    ----------
    since, at
        When counting began and when they were read, in seconds since the epoch.
    """
    made = _Made(int(since * 1e9), int(at * 1e9))
    metrics = [made.metric(family) for family in families if family.values or family.histograms]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


class _Made:
    def __init__(self, since: int, at: int) -> None:
        self._since = since
        self._at = at

    def metric(self, family: Family) -> Metric:
        metric = family.metric
        name, unit = _named(metric.name)
        match metric.type:
            case MetricType.COUNTER:
                return Metric(name, metric.help, unit, Sum(self._numbers(family), _CUMULATIVE, is_monotonic=True))
            case MetricType.GAUGE:
                return Metric(name, metric.help, unit, Gauge(self._numbers(family)))
            case MetricType.HISTOGRAM:
                points = [self._histogram(family, labels, each) for labels, each in family.histograms.items()]
                return Metric(name, metric.help, unit, Histogram(points, _CUMULATIVE))

    def _numbers(self, family: Family) -> list[NumberDataPoint]:
        return [
            NumberDataPoint(_attributes(family, labels), self._since, self._at, float(value))
            for labels, value in family.values.items()
        ]

    def _histogram(self, family: Family, labels: Labels, buckets: Buckets) -> HistogramDataPoint:
        cumulative = [count for _, count in buckets.cumulative]
        counts = [later - earlier for earlier, later in pairwise([0, *cumulative])]
        bounds = [bound for bound, _ in buckets.cumulative[:-1]]
        # How small and how large they were was not kept; None is left out of the message.
        unknown = cast("float", None)
        total = cumulative[-1]
        return HistogramDataPoint(
            _attributes(family, labels), self._since, self._at, total, buckets.sum, counts, bounds, unknown, unknown
        )


def _attributes(family: Family, labels: Labels) -> dict[str, str]:
    named = zip(family.metric.labels, labels, strict=True)
    return {name: label for name, label in named if label or not family.metric.sparse}


def _named(name: str) -> tuple[str, str]:
    """The name without the suffixes of Prometheus, and the unit."""
    if "." in name:
        return name, "s" if name.endswith("duration") else "{token}"
    name = name.removesuffix("_total")
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), unit
    return name, "1"
