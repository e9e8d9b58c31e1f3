"""Sends what is told to a collector: by a queue and a thread of the SDK's for each signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from agentd.model.telemetry import Signal, Telemetry
from agentd.otel.records import Record
from agentd.otel.sending.counted import MOST_WAITING, Counts, kept_reasons
from agentd.otel.sending.metrics import metrics_data
from agentd.otel.sending.session import session_with, verify_by
from agentd.otel.values import Span, Value
from agentd.recording.metrics.measures import Family

TIMEOUT: Final = 10.0
"""Seconds for one request, with what is tried again of it."""
_EVERY: Final = 2000.0
"""Milliseconds between two looks at a queue."""
_AT_ONCE: Final = 256
"""Spans, or log records, in one request."""


class Sender:
    """Sends to one collector, until it is closed.

    Made in a thread: the SDK takes 0.2 s to import.

    Parameters
    ----------
    headers
        Of each request.
    resource
        What is said of agentd.
    """

    def __init__(self, telemetry: Telemetry, headers: Mapping[str, str], resource: Mapping[str, str]) -> None:
        reasons = kept_reasons()
        self._resource = Resource(dict(resource))
        self._scope = InstrumentationScope("agentd", resource.get("service.version"))
        self._telemetry = telemetry
        self._headers = dict(headers)
        self._counts = {signal: Counts(signal, reasons=reasons) for signal in Signal if signal in telemetry.send}
        self._spans = self._span_processor() if Signal.TRACES in telemetry.send else None
        self._logs = self._log_processor() if Signal.LOGS in telemetry.send else None
        self._metrics = self._metric_exporter() if Signal.METRICS in telemetry.send else None

    def spans(self, spans: Sequence[Span]) -> None:
        """Send spans; at once, and never raising."""
        if self._spans is not None:
            for span in spans:
                self._counts[Signal.TRACES].offered()
                self._spans.on_end(self._readable(span))

    def records(self, records: Sequence[Record]) -> None:
        """Send log records at once; never raises."""
        if self._logs is not None:
            for record in records:
                self._counts[Signal.LOGS].offered()
                written = ReadWriteLogRecord(_log_record(record), self._resource, self._scope)
                self._logs.on_emit(written)

    def metrics(self, families: Sequence[Family], since: float, at: float) -> None:
        """Send metrics, in this thread.

        Parameters
        ----------
        since
            When counting began, in seconds since the epoch.
        at
            When they were read.
        """
        if self._metrics is not None:
            data = metrics_data(families, self._resource, self._scope, since, at)
            counts = self._counts[Signal.METRICS]
            counts.given, counts.taken = counts.given + 1, counts.taken + 1
            counts.done(1, ok=self._metrics.export(data) is MetricExportResult.SUCCESS)

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """How many have had which outcome."""
        return {labels: number for counts in self._counts.values() for labels, number in counts.outcomes().items()}

    def close(self) -> None:
        """Send what is still in the queues, in this thread; may take long."""
        for part in (self._spans, self._logs, self._metrics):
            if part is not None:
                part.shutdown()

    def _span_processor(self) -> BatchSpanProcessor:
        session = session_with(self._headers)
        exporter = OTLPSpanExporter(
            f"{self._telemetry.endpoint}/v1/traces",
            headers=self._headers,
            timeout=TIMEOUT,
            compression=Compression.Gzip,
            session=session,
        )
        verify_by(session, self._telemetry.certificate)
        counted = _CountedSpans(exporter, self._counts[Signal.TRACES])
        return BatchSpanProcessor(counted, MOST_WAITING, _EVERY, _AT_ONCE, TIMEOUT * 1000)

    def _log_processor(self) -> BatchLogRecordProcessor:
        session = session_with(self._headers)
        exporter = OTLPLogExporter(
            f"{self._telemetry.endpoint}/v1/logs",
            headers=self._headers,
            timeout=TIMEOUT,
            compression=Compression.Gzip,
            session=session,
        )
        verify_by(session, self._telemetry.certificate)
        counted = _CountedRecords(exporter, self._counts[Signal.LOGS])
        return BatchLogRecordProcessor(counted, _EVERY, _AT_ONCE, TIMEOUT * 1000, MOST_WAITING)

    def _metric_exporter(self) -> OTLPMetricExporter:
        session = session_with(self._headers)
        exporter = OTLPMetricExporter(
            f"{self._telemetry.endpoint}/v1/metrics",
            headers=self._headers,
            timeout=TIMEOUT,
            compression=Compression.Gzip,
            session=session,
        )
        verify_by(session, self._telemetry.certificate)
        return exporter

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            _unicode(span.name),
            _context(span.trace, span.id),
            None if span.parent is None else _context(span.trace, span.parent),
            self._resource,
            _attributes(span.attributes),
            [Event(each.name, _attributes(each.attributes), _nanoseconds(each.at)) for each in span.events],
            kind=SpanKind.INTERNAL,
            status=_status(span),
            start_time=_nanoseconds(span.start),
            end_time=_nanoseconds(span.end),
            instrumentation_scope=self._scope,
        )


class _CountedSpans(SpanExporter):
    def __init__(self, exporter: OTLPSpanExporter, counts: Counts) -> None:
        self._exporter = exporter
        self._counts = counts

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._counts.taken += len(spans)
        result = self._exporter.export(spans)
        self._counts.done(len(spans), ok=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _CountedRecords(LogRecordExporter):
    def __init__(self, exporter: OTLPLogExporter, counts: Counts) -> None:
        self._exporter = exporter
        self._counts = counts

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._counts.taken += len(batch)
        result = self._exporter.export(batch)
        self._counts.done(len(batch), ok=result is LogRecordExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _log_record(record: Record) -> LogRecord:
    context = None
    if record.trace is not None and record.span is not None:
        context = set_span_in_context(NonRecordingSpan(_context(record.trace, record.span)))
    return LogRecord(
        timestamp=_nanoseconds(record.at),
        observed_timestamp=_nanoseconds(record.at),
        context=context,
        severity_number=SeverityNumber(record.severity.value),
        severity_text=record.severity.name,
        body=_unicode(record.body),
        attributes=_attributes(record.attributes),
        event_name=record.name,
    )


def _context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _attributes(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name: _value(value) for name, value in attributes.items()}


def _value(value: Value) -> Value:
    if isinstance(value, tuple):
        return tuple(map(_unicode, value))
    return _unicode(value) if isinstance(value, str) else value


def _unicode(text: str) -> str:
    """Take out of a text what no UTF-8 can hold, such as undecodable bytes of a path: it would stop its whole batch."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _status(span: Span) -> Status:
    if not span.error:
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, None if span.message is None else _unicode(span.message))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
