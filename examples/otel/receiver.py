#!/usr/bin/env python3
"""A collector to try out what agentd sends: it takes OTLP over HTTP on loopback, and prints one line for each span.

Usage: receiver.py [PORT]; 4318 is the one that OpenTelemetry names. It needs the extra: pip install 'agentd[otel]'.
"""

import gzip
import http.server
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SHOWN = (
    "agentd.run.stop", "agentd.turn.outcome", "error.type", "gen_ai.agent", "gen_ai.operation", "gen_ai.tool",
    "gen_ai.usage", "process.exit",
)  # fmt: skip


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers each request with 200, which says that all was taken."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        print(line(span), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print no line for a request."""


def line(span: Span) -> str:
    """What a span is, where it is in its trace, and what is known of it."""
    known = {each.key: value(each.value) for each in span.attributes}
    shown = [f"  {name} = {known[name]}" for name in sorted(known) if name.startswith(SHOWN)]
    place = "in another" if span.parent_span_id else "the root of a trace"
    return "\n".join((f"{span.name}, {place}", *shown))


def value(written: AnyValue) -> object:
    """A text or a number; what else there may be, as it is."""
    kind = written.WhichOneof("value")
    return written if kind is None else getattr(written, kind)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int((*sys.argv, "4318")[1])), Receiver).serve_forever()
