"""When the exporter begins to send, and when it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import structlog

from agentd.model.events import Event, EventKind
from agentd.model.telemetry import Telemetry
from agentd.otel import exporter as module
from agentd.otel.exporter import Exporter, Sending
from agentd.otel.records import Record
from agentd.otel.values import AgentFacts, Span
from agentd.recording.metrics.measures import Family
from tests.support.waiting import until

HERE = Telemetry("http://127.0.0.1:1")
FACTS = {"a": AgentFacts("codex")}
STARTED = Event(EventKind.STARTED, "a", None, {"run": "r1"})
EXITED = Event(EventKind.EXITED, "a", "s3cret-value", {"run": "r1", "exit_code": 1, "text": "s3cret-value"})


@dataclass
class Kept:
    """Stands in for the SDK."""

    telemetry: Telemetry
    headers: Mapping[str, str]
    resource: Mapping[str, str]
    all_spans: list[Span] = field(default_factory=list)
    all_records: list[Record] = field(default_factory=list)
    readings: int = 0
    closed: bool = False
    hangs: threading.Event | None = None

    def spans(self, spans: Sequence[Span]) -> None:
        self.all_spans += spans

    def records(self, records: Sequence[Record]) -> None:
        self.all_records += records

    def metrics(self, families: Sequence[Family], since: float, at: float) -> None:
        assert families
        assert since <= at
        self.readings += 1

    def outcomes(self) -> dict[tuple[str, ...], float]:
        return {("traces", "sent"): len(self.all_spans)}

    def close(self) -> None:
        if self.hangs is not None:
            self.hangs.wait()
        self.closed = True


@dataclass
class Made:
    """All that was made."""

    kept: list[Kept] = field(default_factory=list)
    error: Exception | None = None
    hangs: threading.Event | None = None

    def make(self, telemetry: Telemetry, headers: Mapping[str, str], resource: Mapping[str, str]) -> Sending:
        if self.error is not None:
            raise self.error
        self.kept.append(Kept(telemetry, headers, resource, hangs=self.hangs))
        return self.kept[-1]


@asynccontextmanager
async def exporting(made: Made) -> AsyncIterator[Exporter]:
    exporter = Exporter("i1", lambda text: text.replace("s3cret-value", "[secret]"), lambda: 100.0, made.make)
    yield exporter
    await exporter.close()


async def test_what_happened_before_it_was_declared_is_told_with_what_is_known_then() -> None:
    made = Made()
    async with exporting(made) as exporter:
        exporter.take(STARTED)
        exporter.configure(HERE, {}, FACTS)
        exporter.take(EXITED)
        await until(lambda: made.kept and made.kept[0].all_spans)
    (kept,) = made.kept
    assert [record.name for record in kept.all_records] == ["agentd.started", "agentd.exited"]
    assert kept.all_spans[0].attributes["gen_ai.provider.name"] == "openai"
    assert "s3cret-value" not in str([kept.all_spans, kept.all_records])
    assert (kept.resource["service.name"], kept.resource["service.instance.id"]) == ("agentd", "i1")
    assert kept.closed
    assert kept.readings >= 1, "a last reading"


async def test_without_a_declaration_nothing_is_imported_and_nothing_kept() -> None:
    made = Made()
    async with exporting(made) as exporter:
        exporter.take(STARTED)
        exporter.configure(None, {}, FACTS)
        exporter.take(EXITED)
        assert exporter.outcomes().values == {}
    assert made.kept == []


async def test_another_declaration_ends_the_one_before_and_the_same_changes_nothing() -> None:
    made = Made()
    async with exporting(made) as exporter:
        exporter.configure(HERE, {}, FACTS)
        await until(lambda: made.kept)
        exporter.configure(HERE, {}, {})
        exporter.configure(replace(HERE, service_name="x"), {}, {})
        await until(lambda: made.kept[0].closed)
        exporter.take(STARTED)
        await until(lambda: made.kept[-1].all_records)
        exporter.configure(None, {}, {})
        await until(lambda: made.kept[-1].closed)
    assert [kept.telemetry.service_name for kept in made.kept] == ["agentd", "x"]
    assert made.kept[0].all_records == []


async def test_a_header_is_the_value_of_its_secret_and_nothing_is_sent_without() -> None:
    made = Made()
    telemetry = replace(HERE, headers=(("authorization", "TOKEN"),))
    async with exporting(made) as exporter:
        exporter.configure(telemetry, {}, FACTS)
        exporter.take(STARTED)
        with structlog.testing.capture_logs() as logs:
            exporter.configure(telemetry, {"TOKEN": "two\nlines"}, FACTS)
        assert "cannot be the value of a header" in logs[0]["reason"]
        assert "two" not in str(logs)
        assert made.kept == []
        exporter.configure(telemetry, {"TOKEN": "Bearer x"}, FACTS)
        await until(lambda: made.kept)
    assert made.kept[0].headers == {"authorization": "Bearer x"}


@pytest.mark.parametrize("error", [ImportError("No module named 'opentelemetry'"), OSError("no such file")])
async def test_where_it_cannot_begin_the_log_says_why_and_nothing_piles_up(error: Exception) -> None:
    made = Made(error=error)
    with structlog.testing.capture_logs() as logs:
        async with exporting(made) as exporter:
            exporter.configure(HERE, {}, FACTS)
            await until(lambda: logs)
            for _ in range(5000):
                exporter.take(STARTED)
            assert len(exporter._early) <= 1024
    assert logs[0]["event"] == "telemetry_not_sent"
    assert str(error) in logs[0]["reason"]


async def test_the_end_waits_for_a_moment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_MOMENT", 0.05)
    made = Made(hangs=threading.Event())
    async with exporting(made) as exporter:
        exporter.configure(HERE, {}, FACTS)
        await until(lambda: made.kept)
        await asyncio.wait_for(exporter.close(), 10)
    assert made.hangs is not None
    assert not made.kept[0].closed
    made.hangs.set()
