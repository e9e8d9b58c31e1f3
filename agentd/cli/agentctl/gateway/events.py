"""The last events of a session: the gateway gives them from the first on, in pages."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from urllib.parse import quote

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.gateway.client import Gateway

_PAGE = 1000


def last_events(gateway: Gateway, session: str, count: int) -> tuple[int, list[Mapping[str, Json]]]:
    """Give the cursor of the last event, and the last events, the oldest first."""
    cursor = 0
    last: deque[Mapping[str, Json]] = deque(maxlen=count)
    while True:
        page = gateway.get(f"/sessions/{quote(session, safe='')}/events", {"cursor": cursor, "limit": _PAGE})
        events = page.get("events")
        for event in events if isinstance(events, list) else ():
            if isinstance(event, dict):
                last.append(event)
                at = event.get("cursor")
                cursor = at if isinstance(at, int) else cursor
        if page.get("has_more") is not True:
            return cursor, list(last)
