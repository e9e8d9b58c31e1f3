"""Check what ``[otel]`` needs: the extra, its secrets, and somebody who takes what is sent."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from agentd.cli.agentctl.doctor.finding import Finding, error, ok, warning
from agentd.model.telemetry import Telemetry
from agentd.settings.extras import how_to_install
from agentd.text.quoting import quote

_PATIENCE: Final = 2.0
"""Seconds for a connection."""
_PORTS: Final = {"http": 80, "https": 443}
_NEEDED: Final = ("opentelemetry", "google.protobuf", "requests")


def check_telemetry(telemetry: Telemetry, secrets: Collection[str]) -> Iterator[Finding]:
    """Say what keeps telemetry from arriving.

    Parameters
    ----------
    secrets
        Names of those that there are.
    """
    if not all(map(_found, _NEEDED)):
        yield error(
            "otel", "[otel] needs an extra that is not installed", f"{how_to_install('otel')}, and restart agentd"
        )
    missing = sorted({secret for _, secret in telemetry.headers if secret not in secrets})
    for name in missing:
        yield error(
            "otel", f"secret {quote(name)} does not exist: nothing is sent", "write it into the secret directory"
        )
    yield _reach(telemetry)


def _reach(telemetry: Telemetry) -> Finding:
    parts = urlsplit(telemetry.endpoint)
    port = parts.port or _PORTS[parts.scheme]
    place = f"{parts.hostname}:{port}"
    try:
        socket.create_connection((parts.hostname or "", port), _PATIENCE).close()
    except OSError as problem:
        reason = problem.strerror or str(problem)
        return warning(
            "otel", f"nobody takes telemetry at {place}: {reason}", "start the collector, or correct endpoint in [otel]"
        )
    return ok("otel", f"{', '.join(sorted(telemetry.send))} are sent to {place}")


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
