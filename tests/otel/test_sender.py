"""What is sent, as a collector reads it, and what happens when it does not take it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from agentd.model.events import Event, EventKind
from agentd.model.telemetry import Signal, Telemetry
from agentd.otel.genai import TurnMeasures
from agentd.otel.ids import run_span_id, trace_id
from agentd.otel.records import record_of
from agentd.otel.sending import counted
from agentd.otel.sending import sender as module
from agentd.otel.sending.counted import MOST_WAITING
from agentd.otel.sending.sender import Sender
from agentd.otel.sending.session import session_with
from agentd.otel.values import Span, SpanEvent, Value
from agentd.recording.metrics.measures import AGENTS, CPU, LAUNCH, Family, Histogram
from tests.otel.collector import Collector, collector, value_of, values

SPAN = Span(
    "invoke_agent a",
    trace_id("r1"),
    7,
    run_span_id("r1"),
    10.0,
    12.5,
    {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.agent.name": "a",
        "gen_ai.usage.input_tokens": 130,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.finish_reasons": ("stop",),
    },
    error=True,
    message="why",
    events=(SpanEvent("agentd.permission_asked", 11.0, {"agentd.request.id": "q"}),),
)


@pytest.fixture
def web() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


def sender(web: Collector, **headers: str) -> Sender:
    return Sender(Telemetry(web.url), headers, {"service.name": "agents", "service.version": "1"})


def test_a_span_arrives_as_it_is(web: Collector) -> None:
    sending = sender(web, authorization="Bearer x")
    sending.spans([SPAN])
    sending.close()
    (span,) = web.all_spans()
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano) == ("invoke_agent a", 10**10, 12_500_000_000)
    assert span.trace_id == trace_id("r1").to_bytes(16, "big")
    assert (span.span_id, span.parent_span_id) == ((7).to_bytes(8, "big"), run_span_id("r1").to_bytes(8, "big"))
    assert values(span.attributes) == {**SPAN.attributes, "gen_ai.response.finish_reasons": ["stop"]}
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "why")
    assert [(event.name, event.time_unix_nano) for event in span.events] == [("agentd.permission_asked", 11 * 10**9)]
    assert web.resource() == {"service.name": "agents", "service.version": "1"}
    (post,) = web.posts
    assert (post.headers["authorization"], post.headers["content-type"]) == ("Bearer x", "application/x-protobuf")
    assert sending.outcomes()["traces", "sent"] == 1


def test_an_event_is_a_log_record_in_the_trace_of_its_run(web: Collector) -> None:
    sending = sender(web)
    failed = Event(
        EventKind.LAUNCH_FAILED, "a", "no such program", {"state": "failed", "run": "r1", "pids": ("1", "2")}
    )
    said = Event(EventKind.TURN_TOOL_STARTED, "a", "rm -rf", {"name": "Bash", "turn": "t", "conversation": "c"})
    asked = Event(EventKind.ACTIVITY, "a", "may I rm", {"activity": "waiting_permission"})
    sending.records([record_of(each, 5.0, content=False) for each in (failed, said, asked)])
    sending.records([record_of(said, 5.0, content=True)])
    sending.close()
    first, second, third, fourth = web.records()
    assert value_of(first.body) == "a: launch failed: no such program"
    assert (first.severity_text, first.severity_number, first.event_name) == ("ERROR", 17, "agentd.launch_failed")
    assert first.time_unix_nano == 5 * 10**9
    assert first.trace_id == trace_id("r1").to_bytes(16, "big")
    assert values(first.attributes) == {
        "gen_ai.agent.name": "a",
        "agentd.event.state": "failed",
        "agentd.event.run": "r1",
        "agentd.event.pids": ["1", "2"],
    }
    assert [value_of(each.body) for each in (second, third, fourth)] == [
        "a: turn tool started",
        "a: activity",
        "a: turn tool started: rm -rf",
    ]
    assert second.trace_id == b""


@pytest.mark.parametrize("kind", [*EventKind])
def test_no_event_tells_what_is_said_unless_that_is_declared(kind: EventKind) -> None:
    words = {"prompt": "geheim", "text": "geheim", "choices": ("geheim",), "command": "geheim"}
    assert "geheim" not in str(record_of(Event(kind, "a", None, words), 0.0, content=False))


def test_metrics_have_the_names_and_units_of_the_conventions(web: Collector) -> None:
    launches = Histogram((1.0, 5.0))
    for seconds in (0.5, 3.0, 9.0):
        launches.observe(seconds)
    turns = TurnMeasures()
    turns.take(SPAN)
    turns.take(Span("run a", 1, 1, None, 1.0, 2.0, {}))
    half: dict[str, Value] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "a",
        "agentd.start_not_seen": True,
    }
    turns.take(Span("invoke_agent a", 1, 1, None, 1.0, 2.0, half))
    families = [
        Family(CPU, {("a",): 1.5}),
        Family(AGENTS, {("running", ""): 2, ("", "idle"): 1}),
        Family(LAUNCH, histograms={(): launches.snapshot()}),
        *turns.families(),
    ]
    sending = sender(web)
    sending.metrics(families, 100.0, 160.0)
    sending.close()
    metrics = web.metrics()
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "agentd_agent_cpu": "s",
        "agentd_agents": "1",
        "agentd_launch_duration": "s",
        "gen_ai.client.operation.duration": "s",
        "gen_ai.client.token.usage": "{token}",
    }
    (point,) = metrics["agentd_agent_cpu"].sum.data_points
    assert (point.as_double, values(point.attributes)) == (1.5, {"agent": "a"})
    assert (point.start_time_unix_nano, point.time_unix_nano) == (100 * 10**9, 160 * 10**9)
    assert metrics["agentd_agent_cpu"].sum.is_monotonic
    cumulative = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert metrics["agentd_agent_cpu"].sum.aggregation_temporality == cumulative
    states = metrics["agentd_agents"].gauge.data_points
    assert [values(each.attributes) for each in states] == [{"state": "running"}, {"activity": "idle"}]
    (launch,) = metrics["agentd_launch_duration"].histogram.data_points
    assert (launch.count, launch.sum, list(launch.bucket_counts)) == (3, 12.5, [1, 1, 1])
    assert list(launch.explicit_bounds) == [1.0, 5.0]
    assert not launch.HasField("min")
    used = metrics["gen_ai.client.token.usage"].histogram.data_points
    assert {values(each.attributes)["gen_ai.token.type"]: each.sum for each in used} == {"input": 130.0, "output": 5.0}
    (took,) = metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert took.sum == 2.5
    assert values(took.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.agent.name": "a",
    }


def test_only_what_is_declared_is_sent(web: Collector) -> None:
    sending = Sender(Telemetry(web.url, send=frozenset({Signal.LOGS})), {}, {})
    sending.spans([SPAN])
    sending.metrics([Family(CPU, {("a",): 1.5})], 0.0, 1.0)
    sending.records([record_of(Event(EventKind.STARTED, "a"), 5.0, content=False)])
    sending.close()
    assert {post.path for post in web.posts} == {"/v1/logs"}
    assert {signal for signal, _ in sending.outcomes()} == {"logs"}


def test_nothing_of_the_environment_is_sent_or_followed(
    web: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password geheim\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name, value in {
        "HOME": str(tmp_path),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-token=geheim,authorization=geheim",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_RESOURCE_ATTRIBUTES": "who=geheim",
        "OTEL_SERVICE_NAME": "geheim",
        "OTEL_BSP_MAX_QUEUE_SIZE": "1",
        "OTEL_SDK_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    sending = sender(web)
    sending.spans([SPAN, SPAN])
    sending.close()
    (post,) = web.posts
    assert len(web.all_spans()) == 2
    assert "geheim" not in str(post.headers)
    assert b"geheim" not in post.body


def test_a_certificate_of_the_environment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[requests.Session] = []

    def kept(headers: Mapping[str, str]) -> requests.Session:
        made.append(session_with(headers))
        return made[-1]

    monkeypatch.setattr(module, "session_with", kept)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/anybody.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/nowhere/me.pem")
    Sender(Telemetry("https://127.0.0.1:9"), {}, {}).close()
    assert [(session.verify, session.cert) for session in made] == [(True, None)] * 3
    Sender(Telemetry("https://127.0.0.1:9", certificate="/our.pem"), {}, {}).close()
    assert [session.verify for session in made[3:]] == ["/our.pem"] * 3


@pytest.mark.parametrize("status", [400, 302])
def test_what_is_not_taken_is_counted_and_said_once(
    web: Collector, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, object]] = []
    monkeypatch.setattr(counted.log, "warning", lambda event, **more: said.append({"event": event, **more}))
    monkeypatch.setattr(counted.log, "info", lambda event, **more: said.append({"event": event, **more}))
    web.statuses = [status, status]
    seen: list[logging.LogRecord] = []
    listens = logging.Handler()
    monkeypatch.setattr(listens, "emit", seen.append)
    monkeypatch.setattr(logging.getLogger(), "handlers", [listens])
    sending = sender(web)
    family = Family(CPU, {("a",): 1.5})
    for _ in range(3):
        sending.metrics([family], 0.0, 1.0)
    sending.close()
    assert [each["event"] for each in said] == ["telemetry_not_sent", "telemetry_sent_again"]
    assert str(status) in str(said[0]["reason"])
    outcomes = sending.outcomes()
    assert (outcomes["metrics", "failed"], outcomes["metrics", "sent"]) == (2, 1)
    assert seen == [], "the SDK does not log each attempt"


def test_what_waits_is_bounded_and_what_is_too_much_is_counted() -> None:
    with collector(hangs=True) as web:
        sending = Sender(Telemetry(web.url, send=frozenset({Signal.TRACES})), {}, {})
        more = 3000
        for _ in range(more):
            sending.spans([SPAN])
        outcomes = sending.outcomes()
        assert outcomes["traces", "dropped"] >= more - MOST_WAITING - 3 * 256
        assert web.hang is not None
        web.hang.set()
        sending.close()
        outcomes = sending.outcomes()
        assert sum(outcomes.values()) == more
        assert outcomes["traces", "sent"] == len(web.all_spans())


def test_a_text_that_is_no_unicode_stops_no_others(web: Collector) -> None:
    sending = sender(web)
    sending.spans([replace(SPAN, name="\ud800", attributes={"agentd.turn.id": "\udcff"}), SPAN])
    sending.records([record_of(Event(EventKind.STARTED, "a", "\udcff"), 5.0, content=False)])
    sending.close()
    assert len(web.all_spans()) == 2
    assert len(web.records()) == 1
