"""What is sent to a collector of OpenTelemetry: the table ``[otel]`` of a jcard."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Signal(StrEnum):
    """What may be sent, as OTLP names it."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


SERVICE = "agentd"
"""What the daemon calls itself where nothing else is declared."""

INTERVAL = 60.0
"""Seconds between two readings of the metrics where nothing else is declared."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where telemetry goes, and what of it."""

    endpoint: str = field(repr=False)
    """The base of OTLP over HTTP, without a slash at its end: ``/v1/traces`` and its like are added."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of each request: the name, and the name of the secret that is its value."""
    service_name: str = SERVICE
    attributes: tuple[tuple[str, str], ...] = ()
    """What more is said of the resource."""
    send: frozenset[Signal] = frozenset(Signal)
    content: bool = False
    """Whether what agents are told, and what they say, is sent."""
    interval: float = INTERVAL
    """Seconds between two readings of the metrics."""
    certificate: str | None = None
    """A file of certificates that the endpoint's is checked by; ``None`` is those that browsers trust."""
