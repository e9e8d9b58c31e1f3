"""Times that other programs write; apart from `timestamps`, since importing datetime costs agentctl 2 ms."""

from __future__ import annotations

from datetime import datetime


def seconds_of(written: object) -> float | None:
    """Read a time in ISO 8601, in seconds since the epoch; ``None`` if it is none.

    Examples
    --------
    >>> seconds_of("1970-01-01T01:00:00.5+01:00")
    0.5
    """
    try:
        return datetime.fromisoformat(written).timestamp() if isinstance(written, str) else None
    except (ValueError, OverflowError, OSError):
        return None
