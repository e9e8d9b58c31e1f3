"""The SDK of OpenTelemetry at work: what is told goes into its queues, and from threads of its own to the collector.

Imported once a jcard has ``[otel]``, and by nothing else: its libraries are the extra ``otel``.
"""
