"""What happens, as OpenTelemetry tells it: spans, metrics and log records, sent by OTLP (the extra ``otel``)."""
