"""What docs/reference/events.md says of events is complete."""

from __future__ import annotations

from agentd.model.events import DETAILS, EVENT_DOCS, EventKind


def test_every_kind_of_event_has_a_meaning() -> None:
    assert set(EVENT_DOCS) == set(EventKind), "say in EVENT_DOCS what each kind means"


def test_every_value_of_an_event_has_a_meaning() -> None:
    values = {name for doc in EVENT_DOCS.values() for name in doc.data}
    assert values == set(DETAILS), "say in DETAILS what each name in EVENT_DOCS means, and nothing of others"
