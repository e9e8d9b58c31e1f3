"""One conversation with an agent: what it is at, reduced from its turns' events. Pure.

Events may come twice, late, or without the one before: a harness's witnesses overlap, and a daemon may begin to listen
in the middle of a turn. What is late is passed over; what lacks its beginning begins a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agentd.turns.events import (
    Decision,
    Ended,
    Outcome,
    PermissionAsked,
    PermissionResolved,
    QuestionAsked,
    Started,
    Text,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)

UNNAMED = ""
"""Id of a turn whose beginning nobody told."""

LONGEST_TEXT = 256 * 1024
"""Characters of an answer that are kept in memory; the harness's own record has the rest."""

_MOST_TOOLS = 256
"""Tools under way at once that are kept in mind."""

NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Request:
    """A permission or an answer that the agent waits for."""

    id: str
    text: str
    question: bool
    asked: float
    """When, in seconds since the epoch."""
    choices: tuple[str, ...] = ()
    tool: str | None = None
    name: str = ""
    """Of the tool that permission is asked for."""
    arguments: Mapping[str, object] | None = None
    """What that is given, where it is known."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn, under way or ended."""

    id: str
    prompt: str | None
    started: float
    """Seconds since the epoch."""
    text: str = ""
    """Of the message that the agent is writing, or wrote last."""
    whole: bool = False
    """Whether that message is complete, so that the next piece begins another."""
    tools: tuple[ToolStarted, ...] = ()
    """Under way."""
    usage: Usage = NO_USAGE
    ended: float | None = None
    end: Ended | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is known of a conversation."""

    turn: Turn | None = None
    """The one under way."""
    last: Turn | None = None
    """The last that ended."""
    requests: tuple[Request, ...] = ()
    """Those that wait for an answer, the oldest first."""
    usage: Usage = NO_USAGE
    """Of all turns that were seen."""

    @property
    def idle(self) -> bool:
        """Whether it is the user's move."""
        return self.turn is None


def take(conversation: Conversation, event: TurnEvent, at: float) -> Conversation:
    """Take an event.

    Parameters
    ----------
    at
        When it happened, in seconds since the epoch.
    """
    match event:
        case Started():
            return _start(conversation, event, at)
        case Ended():
            return _end(conversation, event, at)
        case Usage():
            return _use(conversation, event)
        case PermissionResolved(request):
            return replace(conversation, requests=_without(conversation.requests, request))
        case _:
            return _progress(_in_turn(conversation, at), event, at)


def _start(conversation: Conversation, event: Started, at: float) -> Conversation:
    turn = conversation.turn
    if turn is not None and turn.id == event.turn:
        return conversation
    if turn is not None and turn.id == UNNAMED:
        # Its first event came before word of its beginning.
        return replace(conversation, turn=replace(turn, id=event.turn, prompt=event.prompt))
    if turn is None and conversation.last is not None and conversation.last.id == event.turn != UNNAMED:
        return conversation
    if turn is not None:
        # Its end was not told: what it left open is decided, and what it answered is not known.
        conversation = _end(conversation, Ended(Outcome.LOST, error="the next turn began without its end"), at)
    return replace(conversation, turn=Turn(event.turn, event.prompt, at))


def _end(conversation: Conversation, event: Ended, at: float) -> Conversation:
    turn = conversation.turn
    if turn is None:
        return replace(conversation, requests=())
    if event.final_text is not None:
        event = replace(event, final_text=event.final_text[:LONGEST_TEXT])
    done = replace(turn, tools=(), ended=at, end=event, text="", whole=True)
    return replace(conversation, turn=None, last=done, requests=())


def _use(conversation: Conversation, used: Usage) -> Conversation:
    """Count usage to the turn under way, or else to the last one: some harnesses tell it after the end."""
    conversation = replace(conversation, usage=conversation.usage + used)
    if conversation.turn is not None:
        return replace(conversation, turn=replace(conversation.turn, usage=conversation.turn.usage + used))
    if conversation.last is not None:
        return replace(conversation, last=replace(conversation.last, usage=conversation.last.usage + used))
    return conversation


def _in_turn(conversation: Conversation, at: float) -> Conversation:
    return conversation if conversation.turn is not None else replace(conversation, turn=Turn(UNNAMED, None, at))


def _progress(conversation: Conversation, event: TurnEvent, at: float) -> Conversation:
    turn, requests = conversation.turn, conversation.requests
    assert turn is not None
    match event:
        case TextDelta(text):
            before = "" if turn.whole else turn.text
            turn = replace(turn, text=(before + text)[:LONGEST_TEXT], whole=False)
        case Text(text):
            turn = replace(turn, text=text[:LONGEST_TEXT], whole=True)
        case ToolStarted(tool):
            others = tuple(each for each in turn.tools if each.tool != tool)
            turn = replace(turn, tools=(*others, event)[-_MOST_TOOLS:])
        case ToolCompleted(tool):
            turn = replace(turn, tools=tuple(each for each in turn.tools if each.tool != tool))
            requests = tuple(each for each in requests if each.tool != tool)
        case PermissionAsked(request, name, text, tool, choices, arguments):
            asked = Request(request, text or name, False, at, choices, tool, name, arguments)
            requests = (*_without(requests, request), asked)
        case QuestionAsked(request, text, choices, tool):
            asked = Request(request, text, question=True, asked=at, choices=choices, tool=tool)
            requests = (*_without(requests, request), asked)
        case _:
            raise AssertionError(event)
    return replace(conversation, turn=turn, requests=requests)


def _without(requests: tuple[Request, ...], request: str) -> tuple[Request, ...]:
    return tuple(each for each in requests if each.id != request)


def expired(before: Conversation, after: Conversation, event: TurnEvent) -> tuple[PermissionResolved, ...]:
    """The requests that an event decided without saying so: the agent went on, or its turn ended."""
    if isinstance(event, PermissionResolved):
        return ()
    open_still = {request.id for request in after.requests}
    gone = (request for request in before.requests if request.id not in open_still)
    return tuple(PermissionResolved(request.id, Decision.EXPIRED) for request in gone)


def decide(conversation: Conversation, request: str) -> tuple[Conversation, bool]:
    """Take an answer to a request: the first one wins; says whether this is it."""
    left = _without(conversation.requests, request)
    return replace(conversation, requests=left), len(left) < len(conversation.requests)
