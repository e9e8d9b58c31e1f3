"""``GET /v1/events``: what happened, from the journal, as one JSON array or as server-sent events that go on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from aiohttp import hdrs, web
from pydantic import JsonValue

from agentd.api.query import QueryError, flag, is_number, whole_number, wrong
from agentd.api.responses import JSON, error_response
from agentd.api.route import Parameter, Route
from agentd.api.streams import stream
from agentd.api.views import EVENTS
from agentd.recording.journal.database import JournalError
from agentd.recording.journal.entry import Entry, EventFilter
from agentd.recording.journal.journal import Journal

JOURNAL: web.AppKey[Journal] = web.AppKey("journal")

EVENT_STREAM = "text/event-stream"
_LAST_EVENT_ID = "Last-Event-ID"

HEARTBEAT = 15.0
"""Seconds without an event after which a comment is sent: it tells each side that the other is there."""

_RECONNECT = 1000
"""Milliseconds after which a browser comes back, with the number of the last event it has seen."""


@dataclass(frozen=True, slots=True)
class _Query:
    wanted: EventFilter
    since: int | datetime | None
    """The number of an event, or a time."""
    tail: int | None
    limit: int | None
    follow: bool
    sent: bool
    """Whether as server-sent events."""

    @classmethod
    def of(cls, request: web.Request) -> _Query:
        """Read it from a request.

        Raises
        ------
        QueryError
            If it makes no sense.
        """
        query = request.query
        # In a browser one writes ?follow.
        follow = query.get("follow") == "" or flag(query, "follow")
        since = request.headers.get(_LAST_EVENT_ID) or query.get("since")
        return cls(
            wanted=EventFilter(
                frozenset(name.lower() for name in query.getall("agent", ())), frozenset(query.getall("kind", ()))
            ),
            since=None if since is None else _since(since),
            tail=whole_number(query, "tail"),
            limit=whole_number(query, "limit"),
            follow=follow,
            sent=follow or EVENT_STREAM in request.headers.get(hdrs.ACCEPT, ""),
        )

    async def start(self, journal: Journal) -> int | None:
        """Give the number after which to begin, ``None`` for the beginning."""
        if isinstance(self.since, int):
            return self.since
        if self.since is not None:
            return await journal.start_at(self.since.timestamp())
        if self.tail is not None:
            return await journal.start_of_last(self.tail, self.wanted)
        return journal.buffer.readable if self.follow else None


def _since(text: str) -> int | datetime:
    if is_number(text):
        return int(text)
    try:
        # A plus sign in a query is a space to everybody else.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else "")
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise wrong("since", "the number of an event, or a time such as 2026-01-31T09:00:00Z", text)
    return at


async def _events(request: web.Request) -> web.StreamResponse:
    journal = request.app[JOURNAL]
    try:
        query = _Query.of(request)
    except QueryError as error:
        return error_response(HTTPStatus.BAD_REQUEST, str(error))
    try:
        start = await query.start(journal)
    except JournalError as error:
        return error_response(HTTPStatus.SERVICE_UNAVAILABLE, f"the journal cannot be read: {error}")
    if query.sent:
        return await stream(request, _sent(journal, query, start), EVENT_STREAM)
    return await stream(request, _array(journal, query, start), JSON)


async def _sent(journal: Journal, query: _Query, start: int | None) -> AsyncGenerator[bytes, None]:
    # An id without data is remembered and shown to nobody: so a connection that is lost before the first event can be
    # taken up too.
    yield b"retry: %d\nid: %d\n\n" % (_RECONNECT, min(start or 0, journal.buffer.readable))
    async for entries in _taken(journal, query, start):
        if entries:
            yield b"".join(b"id: %d\nevent: %s\ndata: %s\n\n" % (e.seq, e.kind.encode(), e.body) for e in entries)
        else:
            yield b": nothing happened\n\n"


async def _array(journal: Journal, query: _Query, start: int | None) -> AsyncGenerator[bytes, None]:
    separator = b"["
    async for entries in _taken(journal, query, start):
        yield separator + b",\n".join(entry.body for entry in entries)
        separator = b",\n"
    yield b"]\n" if separator != b"[" else b"[]\n"


async def _taken(journal: Journal, query: _Query, start: int | None) -> AsyncGenerator[Sequence[Entry], None]:
    """The events that are asked for, as they come; nothing of them when none came for a while."""
    left, until = query.limit, journal.buffer.readable
    if left == 0:
        return
    reader = journal.reader(query.wanted, start)
    try:
        while True:
            entries = await reader.take()
            if not query.follow:
                entries = [entry for entry in entries if entry.seq <= until]
            if left is not None:
                entries = entries[:left]
                left -= len(entries)
            if entries:
                yield entries
                if left == 0:
                    return
            elif not query.follow or reader.ended:
                return
            elif not await reader.wait(HEARTBEAT):
                yield ()
    finally:
        journal.leave(reader)


_TEXT: dict[str, JsonValue] = {"type": "string"}
_MANY: dict[str, JsonValue] = {"type": "array", "items": _TEXT}
_COUNT: dict[str, JsonValue] = {"type": "integer", "minimum": 0}

EVENTS_ROUTE = Route(
    "/v1/events",
    "listEvents",
    "What happened, in order: a JSON array, or with follow=1 (or an Accept of text/event-stream) server-sent events",
    _events,
    EVENTS,
    texts={
        EVENT_STREAM: "Server-sent events: id is the event's seq, event its kind, data the event as JSON. After a lost"
        " connection, Last-Event-ID goes on where it broke off; it wins over since and tail."
    },
    query={
        "since": Parameter(
            "Begin after the event of this number, or with those from a time on (2026-01-31T09:00:00Z). If later events"
            " are no longer kept, an event of the kind events_expired says so first.",
            _TEXT,
        ),
        "tail": Parameter("Begin with the last so many of those that are kept.", _COUNT),
        "follow": Parameter(
            "1: go on with what happens from now on; alone, begin with that.", {"type": "string", "enum": ["0", "1"]}
        ),
        "agent": Parameter("Only of this agent, its name compared without regard to case; may be repeated.", _MANY),
        "kind": Parameter("Only of this kind; may be repeated.", _MANY),
        "limit": Parameter("End after so many.", _COUNT),
    },
    errors={HTTPStatus.BAD_REQUEST: "The query makes no sense."},
)
