"""All routes of the gateway."""

from __future__ import annotations

from agentd.gateway.http.routes import DOUBLED, ONCE
from agentd.gateway.openai.routes import ROUTES as OPENAI
from agentd.gateway.page.routes import ROUTES as PAGE

TWICE = DOUBLED
"""Served at the root and below ``/api/v1``."""

AT_THE_ROOT = (*ONCE, *OPENAI, *PAGE)
"""Served at the root alone."""
