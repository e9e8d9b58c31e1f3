"""A collector on loopback: takes OTLP over HTTP, and reads it by the protocol's own messages."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_Request = TypeVar("_Request", bound=Message)


@dataclass(frozen=True)
class Post:
    """What was posted, unpacked."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Collector:
    """The collector's side."""

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """What the next posts are answered with; 200 when there is none left."""
    hang: threading.Event | None = None
    """Holds up every answer until it is set."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self, path: str, kind: type[_Request]) -> list[_Request]:
        """All requests that were posted to a path."""
        return [kind.FromString(post.body) for post in tuple(self.posts) if post.path == path]

    def spans(self) -> dict[str, Span]:
        """All spans, by name; of several of one name the last."""
        return {span.name: span for span in self.all_spans()}

    def all_spans(self) -> list[Span]:
        found = self.requests("/v1/traces", ExportTraceServiceRequest)
        return [span for each in found for part in each.resource_spans for sc in part.scope_spans for span in sc.spans]

    def records(self) -> list[LogRecord]:
        found = self.requests("/v1/logs", ExportLogsServiceRequest)
        parts = [part for each in found for part in each.resource_logs]
        return [record for part in parts for scope in part.scope_logs for record in scope.log_records]

    def metrics(self) -> dict[str, Metric]:
        """The last reading of each metric."""
        found = self.requests("/v1/metrics", ExportMetricsServiceRequest)
        parts = [part for each in found for part in each.resource_metrics]
        return {metric.name: metric for part in parts for scope in part.scope_metrics for metric in scope.metrics}

    def resource(self) -> dict[str, object]:
        """What agentd says of itself."""
        return values(self.requests("/v1/traces", ExportTraceServiceRequest)[-1].resource_spans[-1].resource.attributes)


def values(attributes: Iterable[KeyValue]) -> dict[str, object]:
    """Attributes as a dictionary."""
    return {each.key: value_of(each.value) for each in attributes}


def value_of(value: AnyValue) -> object:
    """A value as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)


@contextmanager
def collector(*, hangs: bool = False) -> Iterator[Collector]:
    """Serve while the context is open."""
    kept = Collector(hang=threading.Event() if hangs else None)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            kept.posts.append(Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if kept.hang is not None:
                kept.hang.wait()
            self.send_response(kept.statuses.pop(0) if kept.statuses else 200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that gave up is no error of the test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        kept.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kept
        finally:
            if kept.hang is not None:
                kept.hang.set()
            server.shutdown()
            thread.join()
