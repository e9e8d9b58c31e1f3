"""Headers of every answer."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

NOTHING_ALLOWED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of what is no page."""

_ALWAYS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": NOTHING_ALLOWED,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer that does not set them itself."""


def add_headers(response: web.StreamResponse) -> None:
    """Give an answer those that it does not have."""
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    # Instead of the versions of Python and aiohttp.
    response.headers[hdrs.SERVER] = "agentd-gateway"
