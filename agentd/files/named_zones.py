"""Time zones by name, from the system's database."""

from __future__ import annotations

from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo


@lru_cache(maxsize=64)
def named_zone(name: str) -> tzinfo | None:
    """The zone of this name in the database; ``None`` if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None
