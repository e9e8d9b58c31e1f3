"""The routes of sessions, runs and events, and of the gateway itself."""

from __future__ import annotations

from agentd.gateway.http import docs, metrics, openapi, stream
from agentd.gateway.http.routes import channels, daemon, hire, managed, runs, sessions, triggers

DOUBLED = (*daemon.ROUTES, *sessions.ROUTES, *runs.ROUTES, *stream.ROUTES)
"""Served at the root and below ``/api/v1``."""

ONCE = (
    *hire.ROUTES,
    *channels.ROUTES,
    *managed.ROUTES,
    *triggers.ROUTES,
    *openapi.ROUTES,
    *docs.ROUTES,
    *metrics.ROUTES,
)
"""Served at the root alone."""
