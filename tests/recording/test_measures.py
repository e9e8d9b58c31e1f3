"""What is counted from events, and how it is written down."""

from __future__ import annotations

import itertools

from prometheus_client.parser import text_string_to_metric_families

from agentd.model.events import Detail, Event, EventKind
from agentd.recording.metrics.exposition import exposition
from agentd.recording.metrics.measures import (
    AGENT_STATE,
    API,
    LAUNCH,
    METRICS,
    Counters,
    Family,
    Histogram,
    MetricType,
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(families: list[Family]) -> Samples:
    """Read the text back with prometheus-client's own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition(families).decode())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def counted(*events: Event, agents: tuple[str, ...] = ("a", "b")) -> Samples:
    # Half a second passes with each look at the clock.
    moments = itertools.count(0, 0.5)
    counters = Counters(lambda: next(moments))
    for event in events:
        counters.take(event)
    counters.passed(0.003)
    counters.answered("/v1/health", 0.0007)
    return samples(counters.snapshot(agents))


def event(kind: EventKind, agent: str | None = "a", **data: Detail) -> Event:
    return Event(kind, agent, None, data)


def test_runs_restarts_exits_and_times_are_counted_by_agent() -> None:
    found = counted(
        event(EventKind.LAUNCHED, was="pending"),
        event(EventKind.STARTED),
        event(EventKind.EXITED, exit_code=3),
        event(EventKind.LAUNCHED, was="backoff"),
        event(EventKind.STARTED),
        event(EventKind.EXITED, exit_code=3),
        event(EventKind.LAUNCHED, was="backoff"),
        event(EventKind.LAUNCH_FAILED),
        event(EventKind.STARTED),  # of a launch that nobody saw begin: an adopted one
        event(EventKind.EXITED, exit_signal=9),
        event(EventKind.EXITED, "b"),
        event(EventKind.CONFIG_LOADED, None),
    )
    assert found[key("agentd_agent_restarts_total", agent="a")] == 2
    assert found[key("agentd_agent_restarts_total", agent="b")] == 0
    assert found[key("agentd_agent_exits_total", agent="a", code="3", signal="")] == 2
    assert found[key("agentd_agent_exits_total", agent="a", code="", signal="9")] == 1
    assert found[key("agentd_agent_exits_total", agent="b", code="", signal="")] == 1
    assert found[key("agentd_events_total", kind="exited")] == 4
    assert found[key("agentd_events_total", kind="killed")] == 0
    assert found[key("agentd_launch_duration_seconds_count")] == 2
    assert found[key("agentd_launch_duration_seconds_sum")] == 1.0
    assert found[key("agentd_launch_duration_seconds_bucket", le="0.25")] == 0
    assert found[key("agentd_launch_duration_seconds_bucket", le="0.5")] == 2
    assert found[key("agentd_reconcile_duration_seconds_bucket", le="0.0025")] == 0
    assert found[key("agentd_reconcile_duration_seconds_bucket", le="0.005")] == 1
    assert found[key("agentd_api_request_duration_seconds_count", route="/v1/health")] == 1


def test_nothing_of_a_removed_agent_is_kept() -> None:
    found = counted(
        event(EventKind.LAUNCHED, was="backoff"),
        event(EventKind.EXITED, exit_code=3),
        event(EventKind.EXITED, "b", exit_code=4),
        event(EventKind.REMOVED),
        agents=("b",),
    )
    assert [dict(labels) for name, labels in found if name == "agentd_agent_exits_total"] == [
        {"agent": "b", "code": "4", "signal": ""}
    ]
    assert not any(("agent", "a") in labels for _, labels in found)


def test_labels_are_escaped_and_every_metric_has_help_and_type() -> None:
    name = 'a"b\\c\nd é'
    families = [Family(metric) for metric in METRICS if metric not in (AGENT_STATE, API)]
    families += [
        Family(AGENT_STATE, {(name, "running"): 1}),
        Family(API, histograms={("/x",): Histogram(API.bounds).snapshot()}),
    ]
    text = exposition(families).decode()
    assert samples(families)[key("agentd_agent_state", agent=name, state="running")] == 1
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.type}\n" in text
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
    assert "process_resident_memory_bytes" in text


def test_a_histogram_counts_each_value_in_the_buckets_it_fits_in() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        histogram.observe(value)
    assert histogram.snapshot().cumulative == ((1.0, 2), (2.0, 3), (float("inf"), 4))
    assert histogram.snapshot().sum == 102.0
    assert LAUNCH.bounds == tuple(sorted(LAUNCH.bounds))
