"""What every server of ours tells aiohttp's connections."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

NO_ACCESS_LOG: Final = logging.getLogger(f"{__name__}.access")
"""aiohttp formats a line for each request unless its logger is off."""
NO_ACCESS_LOG.setLevel(logging.CRITICAL + 1)


def is_left(request: web.BaseRequest, error: BaseException) -> bool:
    """Tell whether a request failed for want of its client, which is no defect of the server.

    aiohttp finds it in any write, also in that of ``100 Continue``, which comes before every handler and middleware.

    Parameters
    ----------
    request
        The request that failed.
    error
        What it failed with.
    """
    lost = request.writer.output_size > 0 or request.transport is None or request.transport.is_closing()
    return isinstance(error, ConnectionError) and lost
