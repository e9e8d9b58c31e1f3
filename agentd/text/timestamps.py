"""Timestamps: RFC 3339 in UTC, rounded down."""

from __future__ import annotations

import time
from functools import lru_cache


def rfc3339(seconds: float) -> str:
    """Write a time, in seconds since the epoch, to the second.

    Examples
    --------
    >>> rfc3339(0.9)
    '1970-01-01T00:00:00Z'
    """
    return f"{_to_the_second(int(seconds))}Z"


def rfc3339_milliseconds(seconds: float) -> str:
    """Write a time, in seconds since the epoch, to the millisecond.

    Examples
    --------
    >>> rfc3339_milliseconds(1.2345)
    '1970-01-01T00:00:01.234Z'
    """
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_to_the_second(whole)}.{milliseconds:03}Z"


@lru_cache(maxsize=4096)
def _to_the_second(seconds: int) -> str:
    # Cached: it took a third of the time of GET /v1/agents and of writing an event, with few different times.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
