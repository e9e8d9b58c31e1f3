"""What is true of a worker now, and since which event. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.api.client.socket import Json, JsonObject
from agentd.model.events import EventKind
from agentd.model.pool import WorkerEvent
from agentd.model.states import Activity, AgentState
from agentd.pool.statuses import Status, fields, texts
from agentd.turns.events import Failure, Outcome

KINDS: Final = (
    EventKind.TURN_STARTED,
    EventKind.TURN_ENDED,
    EventKind.TURN_PERMISSION_ASKED,
    EventKind.TURN_QUESTION_ASKED,
    EventKind.ACTIVITY,
    EventKind.LAUNCH_FAILED,
    EventKind.EXITED,
    EventKind.COMPLETED,
    EventKind.FAILED,
    EventKind.TIMED_OUT,
    EventKind.STOPPED,
)
"""The events of a worker by which it is told when something became true."""

_ENDS: Final = (
    EventKind.LAUNCH_FAILED,
    EventKind.EXITED,
    EventKind.COMPLETED,
    EventKind.FAILED,
    EventKind.TIMED_OUT,
    EventKind.STOPPED,
)

ORDER: Final = (
    WorkerEvent.APPROVAL,
    WorkerEvent.QUESTION,
    WorkerEvent.USAGE_LIMIT,
    WorkerEvent.ERROR,
    WorkerEvent.COMPLETED,
    WorkerEvent.EXITED,
    WorkerEvent.IDLE,
    WorkerEvent.SCREEN_CHANGED,
)
"""Which is told of those that became true by the same event."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker asks."""

    id: str
    text: str
    permission: bool
    choices: Sequence[str]


@dataclass(frozen=True, slots=True)
class LastTurn:
    """The last turn that ended."""

    id: str | None
    outcome: str | None
    failure: str | None
    text: str | None
    error: str | None
    cut: bool
    """Whether more of the text was said than is known."""


@dataclass(frozen=True, slots=True)
class Look:
    """One worker at one moment."""

    status: Status
    conversation: JsonObject | None
    """What it says at the socket for turns; ``None`` if it does not run, or is not watched."""
    events: Sequence[JsonObject]
    """Those of `KINDS` that are kept, the oldest first."""
    screen_changed: bool = False

    def at(self, *kinds: EventKind, **data: Json) -> int | None:
        """Give the number of the last event of some kinds that has these values."""
        for event in reversed(self.events):
            if event.get("kind") in kinds and all(fields(event.get("data")).get(n) == v for n, v in data.items()):
                seq = event.get("seq")
                return seq if isinstance(seq, int) else None
        return None

    @property
    def turn_is_under_way(self) -> bool:
        """Whether it is at a turn, or a message waits for one."""
        if self.conversation is None:
            return False
        return self.conversation.get("turn") is not None or bool(self.conversation.get("waiting"))

    @property
    def last(self) -> LastTurn | None:
        """The last turn that ended, whole while the worker runs."""
        shown = fields(None if self.conversation is None else self.conversation.get("last"))
        if shown:
            outcome, failure = _text(shown, "outcome"), _text(shown, "failure")
            return LastTurn(
                _text(shown, "id"), outcome, failure, _text(shown, "text"), _text(shown, "error"), cut=False
            )
        for event in reversed(self.events):
            if event.get("kind") == EventKind.TURN_ENDED:
                data = fields(event.get("data"))
                text, characters = _text(data, "text"), data.get("characters")
                cut = isinstance(characters, int) and characters > len(text or "")
                turn, outcome, failure = _text(data, "turn"), _text(data, "outcome"), _text(data, "failure")
                return LastTurn(turn, outcome, failure, text, _text(event, "reason"), cut=cut)
        return None

    @property
    def last_at(self) -> int | None:
        """The number of the event of its end; ``None`` while that is not kept yet."""
        last = self.last
        return self.at(EventKind.TURN_ENDED, **({} if last is None or not last.id else {"turn": last.id}))

    @property
    def asked(self) -> Asked | None:
        """What it asks first."""
        waiting = None if self.conversation is None else self.conversation.get("requests")
        for request in waiting if isinstance(waiting, list) else []:
            found = fields(request)
            choices = texts(found.get("choices"))
            return Asked(str(found.get("id") or ""), _text(found, "text") or "", not found.get("question"), choices)
        doing = self.status.text("activity")
        if doing in (Activity.WAITING_PERMISSION, Activity.WAITING_INPUT):
            text = self.status.text("activity_text") or ""
            return Asked("", text, doing == Activity.WAITING_PERMISSION, ())
        return None


def _text(values: Mapping[str, Json], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def truths(look: Look) -> Iterator[tuple[WorkerEvent, int | None]]:
    """Say what is true of a worker, each with the number of the event since which it is; ``None`` if not known."""
    if look.screen_changed:
        yield WorkerEvent.SCREEN_CHANGED, None
    if look.status.ended:
        yield from _of_ended(look)
    else:
        yield from _of_living(look)


def _of_ended(look: Look) -> Iterator[tuple[WorkerEvent, int | None]]:
    last, at = look.last, look.at(*_ENDS)
    yield WorkerEvent.EXITED, at
    good = last is not None and last.outcome == Outcome.COMPLETED
    if good and (look.status.succeeded or look.status.state is AgentState.TIMED_OUT):
        yield WorkerEvent.COMPLETED, look.at(EventKind.TURN_ENDED, outcome=Outcome.COMPLETED.value) or at
    elif look.status.succeeded and (last is None or last.outcome is None):
        yield WorkerEvent.COMPLETED, at
    elif last is not None and last.failure == Failure.USAGE_LIMIT:
        yield WorkerEvent.USAGE_LIMIT, look.at(EventKind.TURN_ENDED)
    elif last is not None and last.outcome == Outcome.FAILED:
        yield WorkerEvent.ERROR, look.at(EventKind.TURN_ENDED)
    elif not look.status.succeeded:
        yield WorkerEvent.ERROR, at


def _of_living(look: Look) -> Iterator[tuple[WorkerEvent, int | None]]:
    asked, doing, last = look.asked, look.status.text("activity"), look.last
    if asked is not None:
        kind = EventKind.TURN_PERMISSION_ASKED if asked.permission else EventKind.TURN_QUESTION_ASKED
        at = look.at(kind, request=asked.id) if asked.id else look.at(EventKind.ACTIVITY, activity=doing)
        yield (WorkerEvent.APPROVAL if asked.permission else WorkerEvent.QUESTION), at
    if doing == Activity.USAGE_LIMIT:
        yield WorkerEvent.USAGE_LIMIT, look.at(EventKind.ACTIVITY, activity=doing)
    if doing == Activity.AUTH_ERROR:
        yield WorkerEvent.ERROR, look.at(EventKind.ACTIVITY, activity=doing)
    if look.turn_is_under_way or last is None:
        return
    at = look.last_at
    if last.outcome == Outcome.COMPLETED and doing != Activity.WORKING:
        # While tools that the turn started still run, the work is not done.
        yield WorkerEvent.COMPLETED, at
    if last.outcome == Outcome.FAILED and last.failure != Failure.USAGE_LIMIT:
        yield WorkerEvent.ERROR, at
    if doing == Activity.IDLE:
        yield WorkerEvent.IDLE, at


def first(
    looks: Sequence[Look], wanted: Sequence[WorkerEvent], after: int | None
) -> tuple[Look, WorkerEvent, int | None] | None:
    """Find what happened first of what is wanted.

    Parameters
    ----------
    after
        Only what became true after the event of this number; ``None`` is whatever is true.
    """
    found = [
        (at if at is not None else float("inf"), ORDER.index(event), number, event, at)
        for number, look in enumerate(looks)
        for event, at in truths(look)
        if event in wanted and (after is None or at is None or at > after)
    ]
    if not found:
        return None
    _, _, number, event, at = min(found)
    return looks[number], event, at
