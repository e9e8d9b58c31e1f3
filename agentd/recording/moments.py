"""Times in what is kept: RFC 3339 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339_milliseconds(seconds: float) -> str:
    """Write seconds since the epoch.

    Examples
    --------
    >>> rfc3339_milliseconds(1.2345)
    '1970-01-01T00:00:01.234Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03}Z"
