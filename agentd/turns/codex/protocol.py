"""From the messages of Codex's app server to the events of turns. Pure.

A conversation is a thread that the user began or went back to; those of subagents, and ephemeral ones, which Codex has
its titles written in, are passed over. Everything is read defensively: what is not understood says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from agentd.model.states import Activity
from agentd.turns.codex.requests import Asked, mcp_name, read_request
from agentd.turns.conversation import NO_USAGE
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
    Outcome,
    PermissionResolved,
    Started,
    Text,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
    Usage,
)
from agentd.turns.fields import mapping, number, objects, text

UNWANTED: Final = (
    *("item/commandExecution/outputDelta", "item/fileChange/outputDelta", "item/fileChange/patchUpdated"),
    *("item/reasoning/summaryTextDelta", "item/reasoning/textDelta", "item/plan/delta", "turn/diff/updated"),
    *("item/commandExecution/terminalInteraction", "item/mcpToolCall/progress", "fs/changed"),
)
"""Notifications that the server need not send us."""

USER: Final = "user"
"""Source of threads that are conversations."""

_MOST_REMEMBERED: Final = 64
_FAILURES: Final[Mapping[str | int, Failure]] = {
    "usageLimitExceeded": Failure.USAGE_LIMIT,
    "rateLimitExceeded": Failure.USAGE_LIMIT,
    "sessionBudgetExceeded": Failure.USAGE_LIMIT,
    "unauthorized": Failure.AUTH_ERROR,
    401: Failure.AUTH_ERROR,
    403: Failure.AUTH_ERROR,
    429: Failure.USAGE_LIMIT,
}
"""By Codex's name for what went wrong, or the status of the model server's answer."""

_FLAGS: Final = {
    "waitingOnApproval": Activity.WAITING_PERMISSION,
    "waitingOnUserInput": Activity.WAITING_INPUT,
}
_ACTIVITIES: Final = {"idle": Activity.IDLE, "systemError": Activity.IDLE, "active": Activity.WORKING}
"""By a thread's status. After a system error it is the user's move; the failure is in the turn's end."""

_TOOLS: Final = {
    "commandExecution": "exec_command",
    "fileChange": "apply_patch",
    "webSearch": "web_search",
    "mcpToolCall": "",
    "dynamicToolCall": "",
    "collabAgentToolCall": "",
}
"""Items that are tools; with no name here, they have their own."""


_T = TypeVar("_T")


@dataclass(slots=True)
class Thread:
    """A thread that the server has loaded."""

    heard: bool = False
    """Whether the server tells us of its turns."""
    refused: int = 0
    """How often it refused to, since the thread's status was another."""
    fresh: bool = False
    """Whether it was made since the watching began: all of its usage is of now."""
    total: Usage | None = None
    """What it had used at the last word; ``None`` before the first."""
    status: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Reader:
    """Reads what the server says, in order, over its reconnections."""

    since: float
    """When the watching began, in seconds since the epoch: of turns that had ended before nothing is told."""
    current: str | None = None
    """The conversation."""
    turn: str | None = None
    """The turn that is under way in it."""
    asked: dict[str, Asked] = field(default_factory=dict)
    """Requests that wait for an answer, by id."""
    decided: set[str] = field(default_factory=set)
    """Requests that were answered here, until the server says so."""
    threads: dict[str, Thread] = field(default_factory=dict)
    _others: dict[str, None] = field(default_factory=dict)
    """Threads that are no conversation."""
    _unsaid: bool = False
    """Whether the turn's beginning is still to be told: its message has not come."""
    _said: str | None = None
    """The last message of the turn."""
    _calls: dict[str, str] = field(default_factory=dict)
    """Uses of tools of MCP servers that are under way, by name."""
    _over: dict[str, None] = field(default_factory=dict)
    """Turns that have ended."""

    @property
    def doing(self) -> tuple[Activity, str] | None:
        """What the agent is doing, and what it asks; ``None`` if that is not known."""
        thread = self.threads.get(self.current or "")
        activity = None if thread is None else _ACTIVITIES.get(text(thread.status, "type"))
        if thread is None or activity is None:
            return None
        flags = thread.status.get("activeFlags")
        for flag in flags if isinstance(flags, list) else ():
            activity = _FLAGS.get(flag, activity) if isinstance(flag, str) else activity
        asks = [asked.event.text for asked in self.asked.values()]
        return activity, asks[-1] if asks and activity in _FLAGS.values() else ""

    def loaded(self, thread: Mapping[str, object]) -> None:
        """Take a thread that is loaded; of several the one last that was used last."""
        name = text(thread, "id")
        if not name or name in self.threads:
            return
        if not _is_of_user(thread):
            self._others[name] = None
            _bound(self._others)
            return
        fresh = number(thread, "createdAt") >= int(self.since)
        self.threads[name] = Thread(fresh=fresh, status=mapping(thread, "status"))
        _bound(self.threads)
        if self.turn is None:
            self.current = name

    def is_known(self, name: str) -> bool:
        """Whether a thread is known for a conversation, or for none."""
        return name in self.threads or name in self._others

    def disconnected(self) -> None:
        """The connection is gone: requests are asked again after the next."""
        for thread in self.threads.values():
            thread.heard = False
            thread.status = {}
        self.asked.clear()
        self.decided.clear()

    def caught_up(self, name: str, answer: Mapping[str, object], told: str | None) -> Iterator[TurnEvent]:
        """Take the answer to ``thread/resume``: the thread as it is now, its last turns first.

        Parameters
        ----------
        told
            The turn whose beginning, but no end, was told already.
        """
        thread = self.threads.setdefault(name, Thread())
        thread.heard = True
        thread.status = mapping(mapping(answer, "thread"), "status")
        turns = list(reversed(objects(mapping(answer, "initialTurnsPage"), "data")))
        if self.current != name and self.turn is None and any(map(_is_under_way, turns)):
            self.current = name
        if self.current != name:
            return
        if told is not None and told not in {text(each, "id") for each in turns}:
            self.turn = None
            yield Ended(Outcome.LOST, error="its end was not heard")
        for turn in turns:
            identity = text(turn, "id")
            if identity == told or _is_under_way(turn) or number(turn, "startedAt") >= int(self.since):
                yield from self._retell(turn)

    def _retell(self, turn: Mapping[str, object]) -> Iterator[TurnEvent]:
        if text(turn, "id") in self._over:
            return
        yield from self._begin(text(turn, "id"))
        for item in objects(turn, "items"):
            if text(item, "type") in ("userMessage", "agentMessage"):
                yield from self._item(item, done=not _is_under_way(turn) or text(item, "type") == "userMessage")
        if not _is_under_way(turn):
            yield from self._end(turn)

    def request(self, identity: object, method: str, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        """Take a request that the server makes of its clients."""
        asked = read_request(identity, method, said, self._calls)
        if asked is not None and text(said, "threadId") == self.current:
            self.asked[asked.event.request] = asked
            yield from self._begin(text(said, "turnId"))
            yield from self._say_begun()
            yield asked.event

    def read(self, method: str, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        """Take a notification."""
        name = text(said, "threadId")
        match method:
            case "thread/started":
                self.loaded(mapping(said, "thread"))
            case "thread/closed":
                self.threads.pop(name, None)
            case "thread/status/changed":
                if (thread := self.threads.get(name)) is not None:
                    thread.status, thread.refused = mapping(said, "status"), 0
                    # Where another one is at work now, the terminal shows that.
                    if self.turn is None and text(thread.status, "type") == "active":
                        self.current = name
            case "serverRequest/resolved":
                yield from self._resolved(str(said.get("requestId")))
            case "thread/tokenUsage/updated":
                yield from self._used(name, mapping(mapping(said, "tokenUsage"), "total"))
            case _ if name == self.current is not None:
                yield from self._of_conversation(method, said)

    def _resolved(self, identity: str) -> Iterator[TurnEvent]:
        self.asked.pop(identity, None)
        if identity in self.decided:
            self.decided.discard(identity)
        else:
            # Somebody decided at the terminal.
            yield PermissionResolved(identity, Decision.EXPIRED)

    def _used(self, name: str, totals: Mapping[str, object]) -> Iterator[TurnEvent]:
        thread = self.threads.get(name)
        if thread is None or not totals:
            return
        total = _usage(totals)
        before = NO_USAGE if thread.total is None and thread.fresh else thread.total
        thread.total = total
        if before is not None and name == self.current and (more := total - before) != NO_USAGE:
            yield more

    def _of_conversation(self, method: str, said: Mapping[str, object]) -> Iterator[TurnEvent]:
        match method:
            case "turn/started":
                yield from self._begin(text(mapping(said, "turn"), "id"))
            case "turn/completed":
                turn = mapping(said, "turn")
                yield from self._begin(text(turn, "id"))
                yield from self._end(turn)
            case "item/started" | "item/completed":
                yield from self._begin(text(said, "turnId"))
                yield from self._item(mapping(said, "item"), done=method == "item/completed")
            case "item/agentMessage/delta" if text(said, "turnId") == self.turn is not None:
                yield from self._say_begun()
                yield TextDelta(text(said, "delta"))
            case _:
                pass

    def _begin(self, turn: str) -> Iterator[TurnEvent]:
        if not turn or turn == self.turn or turn in self._over:
            return
        if self.turn is not None:
            yield from self._say_begun()
            yield Ended(Outcome.LOST, error="the next turn began without its end")
        self.turn, self._unsaid, self._said = turn, True, None

    def _say_begun(self, prompt: str | None = None) -> Iterator[TurnEvent]:
        if self._unsaid and self.turn is not None:
            self._unsaid = False
            yield Started(self.turn, prompt)

    def _item(self, item: Mapping[str, object], *, done: bool) -> Iterator[TurnEvent]:
        kind, identity = text(item, "type"), text(item, "id")
        if self.turn is None:
            return
        if kind == "userMessage":
            yield from self._say_begun("".join(text(each, "text") for each in objects(item, "content")))
        elif kind == "agentMessage" and done:
            self._said = text(item, "text")
            yield from self._say_begun()
            yield Text(self._said)
        elif kind in _TOOLS and identity:
            yield from self._say_begun()
            if kind == "mcpToolCall":
                self._calls[mcp_name(text(item, "server"), text(item, "tool"))] = identity
                _bound(self._calls)
            if done:
                yield ToolCompleted(identity, ok=text(item, "status") in ("completed", ""))
            else:
                yield ToolStarted(identity, _TOOLS[kind] or text(item, "tool"), _summary(item))

    def _end(self, turn: Mapping[str, object]) -> Iterator[TurnEvent]:
        if text(turn, "id") != self.turn is not None or self.turn is None:
            return
        end = _ended(turn, self._said)
        # Where nothing was asked and nothing answered, it only put its memory in order.
        if not self._unsaid or end != Ended(Outcome.COMPLETED):
            yield from self._say_begun()
            yield end
        self._over[self.turn] = None
        _bound(self._over)
        self.turn, self._unsaid = None, False
        self.asked.clear()


def _bound(remembered: dict[str, _T]) -> None:
    while len(remembered) > _MOST_REMEMBERED:
        del remembered[next(iter(remembered))]


def _is_of_user(thread: Mapping[str, object]) -> bool:
    return (
        thread.get("ephemeral") is not True
        and thread.get("threadSource") in (None, USER)
        and thread.get("parentThreadId") is None
        and isinstance(thread.get("source"), str)
    )


def _is_under_way(turn: Mapping[str, object]) -> bool:
    return text(turn, "status") == "inProgress"


def _ended(turn: Mapping[str, object], said: str | None) -> Ended:
    status, error = text(turn, "status"), mapping(turn, "error")
    if status == "interrupted":
        return Ended(Outcome.INTERRUPTED)
    if status == "failed":
        return Ended(Outcome.FAILED, None, _failure(error.get("codexErrorInfo")), text(error, "message") or None)
    answers = [text(item, "text") for item in objects(turn, "items") if text(item, "type") == "agentMessage"]
    return Ended(Outcome.COMPLETED, answers[-1] if answers else said)


def _failure(info: object) -> Failure:
    if isinstance(info, dict):
        statuses = [number(each, "httpStatusCode") for each in info.values() if isinstance(each, dict)]
        return next((_FAILURES[status] for status in statuses if status in _FAILURES), Failure.OTHER)
    return _FAILURES.get(info, Failure.OTHER) if isinstance(info, str) else Failure.OTHER


def _usage(used: Mapping[str, object]) -> Usage:
    """Codex counts what came from its cache, or went there, to the input, too."""
    read, write = number(used, "cachedInputTokens"), number(used, "cacheWriteInputTokens")
    return Usage(max(0, number(used, "inputTokens") - read - write), number(used, "outputTokens"), read, write)


def _summary(item: Mapping[str, object]) -> str:
    actions, changes = objects(item, "commandActions"), objects(item, "changes")
    if len(actions) == 1:
        return text(actions[0], "command")
    if changes:
        return " ".join(text(each, "path") for each in changes)
    return text(item, "command") or text(item, "query")
