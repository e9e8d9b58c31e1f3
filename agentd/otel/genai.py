"""Metrics of turns, as the conventions for generative AI name them: counted from the spans of turns that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentd.otel import names
from agentd.otel.values import Span
from agentd.recording.metrics.measures import Family, Histogram, Labels, Metric, MetricType

_OF_TURN: Final = (names.OPERATION, names.PROVIDER, names.AGENT, names.MODEL)

DURATION: Final = Metric(
    "gen_ai.client.operation.duration",
    MetricType.HISTOGRAM,
    "How long turns took.",
    (*_OF_TURN, names.ERROR),
    (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 327.68, 1310.72),
    sparse=True,
)
TOKENS: Final = Metric(
    "gen_ai.client.token.usage",
    MetricType.HISTOGRAM,
    "Tokens that turns used.",
    (*_OF_TURN, names.TOKEN_TYPE),
    tuple(float(4**power) for power in range(14)),
    sparse=True,
)

_TYPES: Final = {"input": names.INPUT_TOKENS, "output": names.OUTPUT_TOKENS}

_MOST: Final = 2000
"""Combinations of attributes: what agents that were removed used is forgotten, the oldest first."""


class TurnMeasures:
    """Counts turns."""

    def __init__(self) -> None:
        self._durations: dict[Labels, Histogram] = {}
        self._tokens: dict[Labels, Histogram] = {}

    def take(self, span: Span) -> None:
        """Count a span, if it is a turn."""
        if span.attributes.get(names.OPERATION) != names.INVOKE_AGENT:
            return
        known = tuple(str(span.attributes.get(name, "")) for name in _OF_TURN)
        error = str(span.attributes.get(names.ERROR, ""))
        if names.NOT_SEEN not in span.attributes:
            _of(self._durations, DURATION, (*known, error)).observe(span.end - span.start)
        for kind, name in _TYPES.items():
            used = span.attributes.get(name)
            if isinstance(used, int):
                _of(self._tokens, TOKENS, (*known, kind)).observe(used)

    def families(self) -> Sequence[Family]:
        """What was counted so far."""
        return (
            Family(DURATION, histograms={labels: each.snapshot() for labels, each in self._durations.items()}),
            Family(TOKENS, histograms={labels: each.snapshot() for labels, each in self._tokens.items()}),
        )


def _of(counted: dict[Labels, Histogram], metric: Metric, labels: Labels) -> Histogram:
    found = counted.get(labels)
    if found is None:
        if len(counted) >= _MOST:
            del counted[next(iter(counted))]
        found = counted[labels] = Histogram(metric.bounds)
    return found
