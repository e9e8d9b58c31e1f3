"""From the events of OpenCode's server to those of turns. Pure.

A conversation is a session that the user talks to; those of subagents have a parent, and are passed over. Measured with
1.18.33: a message of the user is an event, its text another; ``session.idle`` may come twice; an abort is an error
followed by it; permissions and questions have ids of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from agentd.model.states import Activity
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
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
from agentd.turns.fields import amount, mapping, number, objects, text

_QUOTA: Final = re.compile(r"quota|rate.?limit|usage.?limit|\b429\b|too many requests", re.IGNORECASE)
_REFUSED: Final = (401, 403)
_TOO_MANY: Final = 429
_ABORTED: Final = "MessageAbortedError"
_TO_TOOLS: Final = "tool-calls"
"""Why a message ends that calls tools. A turn that ends with it was cut off by who refused a tool: that is no error."""
_SHOWN: Final = ("command", "filePath", "path", "url", "pattern", "query", "description")
"""What of a tool's input tells a person most, best first."""
_ANY: Final = "*"
"""The pattern of a permission that is about a tool of an MCP server: it says nothing."""
_MOST_REMEMBERED: Final = 256

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Doing:
    """What the server says the agent is doing."""

    activity: Activity
    text: str = ""
    resets_at: float | None = None
    """When it tries again by itself, of a usage limit."""


@dataclass(slots=True)
class Reader:
    """Reads events in order."""

    session: str | None = None
    """The conversation."""
    doing: Doing | None = None
    """What the last event said, if it said that."""
    deaf: bool = False
    """Whether no conversation is taken up: one is being copied."""
    past: frozenset[str] = frozenset()
    """Messages that the conversation was copied with."""
    _children: set[str] = field(default_factory=set)
    _users: dict[str, str] = field(default_factory=dict)
    """Messages of the user, by id: empty until their text is known."""
    _kinds: dict[str, str] = field(default_factory=dict)
    """Of parts of messages, by id."""
    _texts: dict[str, str] = field(default_factory=dict)
    """Text of the last answer, by part."""
    _answer: str = ""
    """Id of the last message of the agent."""
    _inputs: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """What tools are given, by use."""
    _pending: dict[str, None] = field(default_factory=dict)
    """Uses of tools whose input is not known yet."""
    _held: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """Permissions that are asked for before it is, by use: those of MCP servers' tools."""
    _counted: dict[str, None] = field(default_factory=dict)
    """Messages whose usage was told."""
    _error: Ended | None = None
    _cut_off: bool = False
    """Whether the last message of the agent ended with tools, whose results it is to be given yet."""
    _open: bool = False
    _left: str = ""
    """The agent's message that was not complete when its turn ended: word of that, and of its end, is still to come."""

    def knows(self, message: str) -> bool:
        """Whether a message of the user was heard of, or copied."""
        return message in self.past or bool(self._users.get(message))

    def resume(self, statuses: Mapping[str, object]) -> None:
        """Take which sessions the server says are at work, after connecting to it; the others are idle."""
        at_work = [session for session, status in statuses.items() if isinstance(status, dict)]
        mine = [session for session in at_work if session not in self._children]
        if self.session is None and len(mine) == 1:
            self.session = mine[0]
        self._open = self._open and self.session in at_work
        self.doing = Doing(Activity.WORKING if mine else Activity.IDLE)
        status = mapping(statuses, self.session or "")
        if text(status, "type") == "retry":
            self.doing = _retries(status)

    @property
    def holds(self) -> bool:
        """Whether something is asked for that is not told of yet, as its tool's input is not known."""
        return bool(self._held)

    def release(self) -> Iterator[TurnEvent]:
        """Tell of what is asked for without the input."""
        held, self._held = self._held, {}
        for said in held.values():
            yield from self._ask(said)

    def read(self, event: Mapping[str, object]) -> Iterator[TurnEvent]:
        """Give what an event says of the conversation."""
        kind, said = text(event, "type"), mapping(event, "properties")
        self.doing = None
        info = mapping(said, "info")
        session = text(said, "sessionID") or text(info, "sessionID") or text(mapping(said, "part"), "sessionID")
        if kind in ("session.created", "session.updated"):
            if text(info, "parentID"):
                self._children.add(session or text(info, "id"))
            return
        if kind == "tui.session.select":
            self.session = session or self.session
            return
        if not session or session in self._children:
            return
        message = text(info, "id") or text(mapping(said, "part"), "messageID")
        if self.deaf or message in self.past:
            return
        if kind == "message.updated" and text(info, "role") == "user":
            self.session = session
        if session == self.session:
            yield from self._of_conversation(kind, said)

    def _of_conversation(self, kind: str, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        readers: Mapping[str, Callable[[Mapping[str, object]], Iterator[TurnEvent]]] = {
            "message.updated": self._message,
            "message.part.updated": self._part,
            "message.part.delta": self._delta,
            "permission.asked": self._asked,
            "permission.replied": self._replied,
            "question.asked": self._question,
            "question.replied": self._answered,
            "question.rejected": self._rejected,
            "session.error": self._failed,
            "session.status": self._status,
            "session.idle": self._idle,
        }
        read = readers.get(kind)
        if read is not None:
            yield from read(said)

    def _message(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        info = mapping(said, "info")
        message, times = text(info, "id"), mapping(info, "time")
        if text(info, "role") == "user":
            self._users.setdefault(message, "")
            _bound(self._users)
            return
        if message == self._left:
            if "completed" in times:
                self._counted[message] = None
                _bound(self._counted)
            return
        if self._answer != message:
            self._answer = message
            self._texts.clear()
        self._cut_off = text(info, "finish") == _TO_TOOLS
        error = mapping(info, "error")
        if error:
            self._error = _failed(error)
        if "completed" in times and message not in self._counted:
            self._counted[message] = None
            _bound(self._counted)
            used = _usage(info)
            if used != Usage():
                yield used

    def _part(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        part = mapping(said, "part")
        part_id, message, kind = text(part, "id"), text(part, "messageID"), text(part, "type")
        self._kinds[part_id] = kind
        _bound(self._kinds)
        if message in self._users:
            if kind == "text" and part.get("synthetic") is not True and not self._users[message]:
                self._users[message] = text(part, "text") or " "
                self._open, self._error, self._cut_off = True, None, False
                self._texts.clear()
                self.doing = Doing(Activity.WORKING)
                yield Started(message, text(part, "text"))
        elif not self._open:
            # What an aborted turn still had on its way.
            return
        elif kind == "text":
            self._texts[part_id] = text(part, "text")
            if "end" in mapping(part, "time"):
                yield Text(self._said())
        elif kind == "tool":
            yield from self._tool(part)

    def _tool(self, part: Mapping[str, object]) -> Iterator[TurnEvent]:
        state, call = mapping(part, "state"), text(part, "callID")
        self._inputs[call] = mapping(state, "input")
        _bound(self._inputs)
        self._pending.pop(call, None)
        match text(state, "status"):
            case "pending":
                self._pending[call] = None
                _bound(self._pending)
            case "running":
                yield ToolStarted(call, text(part, "tool"), _summary(mapping(state, "input")))
                if call in self._held:
                    yield from self._ask(self._held.pop(call))
            case "completed" | "error" as status:
                yield ToolCompleted(call, ok=status == "completed")
            case _:
                pass

    def _delta(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        part = text(said, "partID")
        # What it thinks comes as text, too.
        if (
            self._open
            and self._kinds.get(part) == "text"
            and text(said, "field") == "text"
            and text(said, "messageID") == self._answer
        ):
            self._texts[part] = self._texts.get(part, "") + text(said, "delta")
            yield TextDelta(text(said, "delta"))

    def _said(self) -> str:
        return "".join(self._texts.values())

    def _asked(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        call = text(mapping(said, "tool"), "callID")
        if call in self._pending:
            self._held[call] = said
        else:
            yield from self._ask(said)

    def _ask(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        name, given = text(said, "permission"), mapping(said, "metadata")
        patterns = said.get("patterns")
        first = patterns[0] if isinstance(patterns, list) and patterns and isinstance(patterns[0], str) else ""
        call = text(mapping(said, "tool"), "callID")
        arguments = self._inputs.get(call)
        shown = _summary(given) or (first if first != _ANY else "") or name
        self.doing = Doing(Activity.WAITING_PERMISSION, shown)
        yield PermissionAsked(text(said, "id"), name, shown, call or None, arguments=arguments)

    def _question(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        asked = objects(said, "questions")
        shown = " ".join(text(each, "question") for each in asked)
        choices = tuple(text(each, "label") for each in objects(asked[0], "options")) if len(asked) == 1 else ()
        self.doing = Doing(Activity.WAITING_INPUT, shown)
        yield QuestionAsked(text(said, "id"), shown, choices, text(mapping(said, "tool"), "callID") or None)

    def _replied(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        self._held = {call: each for call, each in self._held.items() if text(each, "id") != text(said, "requestID")}
        self.doing = Doing(Activity.WORKING)
        decision = Decision.DENY if text(said, "reply") == "reject" else Decision.ALLOW
        yield PermissionResolved(text(said, "requestID"), decision)

    def _answered(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        self.doing = Doing(Activity.WORKING)
        yield PermissionResolved(text(said, "requestID"), Decision.ANSWER)

    def _rejected(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        self.doing = Doing(Activity.WORKING)
        yield PermissionResolved(text(said, "requestID"), Decision.DENY)

    def _failed(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        self._error = _failed(mapping(said, "error"))
        return iter(())

    def _status(self, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        status = mapping(said, "status")
        match text(status, "type"):
            case "busy":
                self.doing = Doing(Activity.WORKING)
            case "retry":
                self.doing = _retries(status)
            case "idle":
                return self._idle(said)
            case _:
                pass
        return iter(())

    def _idle(self, _said: Mapping[str, object]) -> Iterator[TurnEvent]:
        if self._open and self._left and self._answer == self._left and self._error is None:
            # Of the turn before: a turn that is aborted is idle at once, and again when its message is complete.
            return
        self.doing = Doing(Activity.IDLE)
        self._held.clear()
        if not self._open:
            self._left = "" if self._left in self._counted else self._left
        else:
            self._open = False
            self._left = "" if self._answer in self._counted else self._answer
            if self._error is not None:
                yield self._error
            elif self._cut_off:
                yield Ended(Outcome.INTERRUPTED)
            else:
                yield Ended(Outcome.COMPLETED, self._said())


def _retries(status: Mapping[str, object]) -> Doing:
    message, milliseconds = text(status, "message"), amount(status, "next")
    if _QUOTA.search(message) is None:
        return Doing(Activity.WORKING, message)
    return Doing(Activity.USAGE_LIMIT, message, None if milliseconds is None else milliseconds / 1000)


def _bound(kept: dict[str, _T]) -> None:
    """Forget the oldest."""
    while len(kept) > _MOST_REMEMBERED:
        del kept[next(iter(kept))]


def _failed(error: Mapping[str, object]) -> Ended:
    data = mapping(error, "data")
    name, said, status = text(error, "name"), text(data, "message"), number(data, "statusCode")
    if name == _ABORTED:
        return Ended(Outcome.INTERRUPTED)
    failure = Failure.OTHER
    if status in _REFUSED or name == "ProviderAuthError":
        failure = Failure.AUTH_ERROR
    elif status == _TOO_MANY or _QUOTA.search(said):
        failure = Failure.USAGE_LIMIT
    return Ended(Outcome.FAILED, None, failure, said or name or None)


def _usage(info: Mapping[str, object]) -> Usage:
    tokens, cost = mapping(info, "tokens"), info.get("cost")
    cache = mapping(tokens, "cache")
    known = float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and cost > 0 else None
    return Usage(
        number(tokens, "input"),
        number(tokens, "output") + number(tokens, "reasoning"),
        number(cache, "read"),
        number(cache, "write"),
        known,
    )


def _summary(given: Mapping[str, object]) -> str:
    return next((value for name in _SHOWN if (value := text(given, name).strip())), "")
