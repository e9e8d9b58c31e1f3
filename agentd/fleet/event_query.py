"""What a client wants of the events of a fleet, as its query says. Pure."""

from __future__ import annotations

from http import HTTPStatus

from multidict import MultiMapping

from agentd.api.query import is_number
from agentd.fleet.following import EventsWanted
from agentd.fleet.refusals import FleetError


def events_wanted(query: MultiMapping[str]) -> EventsWanted:
    """Read a query.

    Raises
    ------
    FleetError
        If it makes no sense.
    """
    filters = tuple((name, value) for name in ("agent", "kind") for value in query.getall(name, ()))
    past = tuple((name, query[name]) for name in ("since", "tail") if name in query)
    return EventsWanted(filters, past, _count(query, "tail"), _count(query, "limit"))


def _count(query: MultiMapping[str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not is_number(text):
        raise FleetError(HTTPStatus.BAD_REQUEST, f"{name}: expected a whole number, found {text!r}")
    return int(text)
