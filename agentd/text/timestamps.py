"""Times in what is kept: RFC 3339 in UTC with milliseconds."""

from __future__ import annotations

import time
from functools import lru_cache


def rfc3339_milliseconds(seconds: float) -> str:
    """Write a wall-clock time in UTC, rounded down to the millisecond.

    Examples
    --------
    >>> rfc3339_milliseconds(1.2345)
    '1970-01-01T00:00:01.234Z'
    """
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_to_the_second(whole)}.{milliseconds:03}Z"


@lru_cache(maxsize=4)
def _to_the_second(seconds: int) -> str:
    # A third of the time that writing an event down takes, and events come in bursts.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
