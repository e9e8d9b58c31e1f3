"""Importing libraries without what they would import beside and is not used here."""

from __future__ import annotations

import os
import sys

_CERTIFICATES = "SSL_CERT_FILE"


def import_structlog_alone() -> None:
    """Import structlog without rich, for whose pretty tracebacks it looks and which we do not use: 60 ms and 5 MB."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment]  # what makes an import fail, by importlib's own rule
    import structlog  # noqa: F401, PLC0415

    if hidden:
        # A harness of somebody else's may want it.
        del sys.modules["rich"]


def import_aiohttp_without_certificates() -> None:
    """Import aiohttp without the system's certificates, which it reads at once: 50 ms and 2 MB for an HTTPS never used.

    OpenSSL is told where they stand by the environment, and agents are to have that as it was.
    """
    before = os.environ.get(_CERTIFICATES)
    os.environ[_CERTIFICATES] = os.devnull
    try:
        import aiohttp  # noqa: F401, PLC0415
    finally:
        if before is None:
            del os.environ[_CERTIFICATES]
        else:
            os.environ[_CERTIFICATES] = before
