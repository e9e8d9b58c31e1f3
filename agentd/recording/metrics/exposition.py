"""Metrics as the text that Prometheus reads.

Source: the text-based exposition format, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Written
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from agentd.recording.metrics.measures import METRICS, Family, MetricType

_DAEMON = ProcessCollector(registry=None)

_known: dict[str, tuple[Family, bytes]] = {}
"""What was written last of each metric: most values are the same the next time, and a sample takes 6 µs to write."""


class _One(Collector):
    def __init__(self, metric: Written) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Written]:
        yield self._metric


def _written(family: Family) -> Written:
    metric = family.metric
    match metric.type:
        case MetricType.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in family.values.items():
                counter.add_metric(labels, value)
            return counter
        case MetricType.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in family.values.items():
                named = dict(zip(metric.labels, labels, strict=True))
                written = {name: label for name, label in named.items() if label or not metric.sparse}
                gauge.add_sample(metric.name, written, value)
            return gauge
        case MetricType.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, buckets in family.histograms.items():
                cumulative = [(_bound(bound), float(count)) for bound, count in buckets.cumulative]
                histogram.add_metric(labels, cumulative, sum_value=buckets.sum)
            return histogram


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def exposition(families: Sequence[Family]) -> bytes:
    """Write metrics, in the order of their definition."""
    order = {metric.name: number for number, metric in enumerate(METRICS)}
    ordered = sorted(families, key=lambda family: order[family.metric.name])
    return b"".join([*map(_text, ordered), generate_latest(_DAEMON)])


def to_write(families: Sequence[Family]) -> int:
    """How many values are not as they were when they were last written."""
    return sum(_size(family) for family in families if _known_text(family) is None)


def _size(family: Family) -> int:
    return len(family.values) + sum(len(buckets.cumulative) for buckets in family.histograms.values())


def _text(family: Family) -> bytes:
    text = _known_text(family)
    if text is None:
        text = generate_latest(_One(_written(family)))
        _known[family.metric.name] = family, text
    return text


def _known_text(family: Family) -> bytes | None:
    known = _known.get(family.metric.name)
    return known[1] if known is not None and known[0] == family else None
