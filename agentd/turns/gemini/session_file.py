"""Gemini CLI's session file, a JSON object a line: messages, answers, tools, usage, cancels and errors. Pure.

A message is a line, and again with the same id once more is known of it: the last one counts. After a cancel the whole
history is written once more with new ids, from the message with the context of the session up to a ``$set`` of all
messages; neither is news. Measured with 0.61.0:

- message: a line of type ``user`` when it is taken; what is typed into a busy one comes when that is idle;
- answer: a line of type ``gemini`` once the model has said all of it, 0.1 s before the title is Ready again;
- tool: the line of the answer again, with ``toolCalls``, once they have all run or were refused;
- Escape, also at a permission: ``info`` "Request cancelled.";
- HTTP 401 and others that are not tried again: ``error`` "[API Error: …]"; 500 is, for over 5 minutes, and 429 for over
  3, or until the dialog of the limit is answered, and nothing is written meanwhile.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from agentd.text.iso8601 import seconds_of
from agentd.turns.events import Failure, Usage
from agentd.turns.fields import mapping, number, objects, text
from agentd.turns.reading import Reading

_CONTEXT: Final = "<session_context>\n"
_CANCELLED: Final = "Request cancelled."
_API_ERROR: Final = "[API Error"
_LIMIT: Final = re.compile(r"\b429\b|RESOURCE_EXHAUSTED|[Qq]uota")
_AUTH: Final = re.compile(r"\b40[13]\b|UNAUTHENTICATED|PERMISSION_DENIED|API_KEY_INVALID|API key|authentication_error")

_REPEATING: Final = 2.0
"""Seconds at most between the first line of a repeated history and its last; 200 messages took 0.1 s."""

_MOST_KNOWN: Final = 256
"""Answers, and tools, of which is known what was told; what comes later of older ones is told again."""

_MOST_FOLDERS, _MOST_FILES = 2000, 8
"""Bounds of a search: the folders that are looked into, and the files of one conversation."""

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Header:
    """The file is that of this conversation."""

    session: str
    started: float
    """When it was begun."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """A message was taken."""

    turn: str
    prompt: str
    at: float


@dataclass(frozen=True, slots=True)
class Said:
    """The model answered, whole."""

    text: str
    final: bool
    """Whether the turn ends with it: it asks for no tool, as far as is known."""
    at: float


@dataclass(frozen=True, slots=True)
class Tool:
    """The model used a tool."""

    tool: str
    name: str
    text: str
    ok: bool | None
    """``None`` while it runs."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The user cancelled the turn, also by refusing a permission."""


@dataclass(frozen=True, slots=True)
class Errored:
    """Something went wrong."""

    text: str
    failure: Failure
    ends: bool
    """Whether that ends the turn for certain."""


@dataclass(frozen=True, slots=True)
class Used:
    """What the model used, beyond what was told of the same answer before."""

    usage: Usage


Recorded = Header | Prompted | Said | Tool | Cancelled | Errored | Used


@dataclass(slots=True)
class Session:
    """Reads the lines of a file, in order."""

    _used: dict[str, Usage] = field(default_factory=dict)
    _said: dict[str, tuple[str, bool]] = field(default_factory=dict)
    _prompted: dict[str, None] = field(default_factory=dict)
    _tools: dict[str, bool | None] = field(default_factory=dict)
    _repeating: float | None = None
    """When the history began to be repeated, while it is."""

    def read(self, line: bytes) -> list[Recorded]:
        """What a line says; nothing if it is damaged, or in a format that is not known."""
        try:
            found: object = json.loads(line)
        except (ValueError, RecursionError):
            return []
        if not isinstance(found, dict):
            return []
        change = mapping(found, "$set")
        if change:
            if isinstance(change.get("messages"), list):
                self._repeating = None
            return []
        if "kind" in found and text(found, "sessionId"):
            return [Header(text(found, "sessionId"), seconds_of(text(found, "startTime")) or 0.0)]
        identity, at = text(found, "id"), seconds_of(text(found, "timestamp"))
        if not identity or at is None:
            return []
        return self._of_message(found, identity, at)

    def _of_message(self, found: Mapping[str, object], identity: str, at: float) -> list[Recorded]:
        if self._repeating is not None and at - self._repeating > _REPEATING:
            self._repeating = None
        kind, said = text(found, "type"), _words(found, "content")
        if kind == "user" and said.startswith(_CONTEXT):
            self._repeating = at
        if self._repeating is not None:
            return []
        match kind:
            case "user":
                return self._of_user(found, identity, at)
            case "gemini":
                return self._of_model(found, identity, at)
            case "info":
                return [Cancelled()] if said == _CANCELLED else []
            case "error":
                return [Errored(said, _failure(said), said.startswith(_API_ERROR))]
            case _:
                return []

    def _of_user(self, found: Mapping[str, object], identity: str, at: float) -> list[Recorded]:
        prompt = _words(found, "displayContent") or _words(found, "content")
        if not prompt or identity in self._prompted:
            # What a tool gave is a user's message, too, without words.
            return []
        _keep(self._prompted, identity, None)
        return [Prompted(identity, prompt, at)]

    def _of_model(self, found: Mapping[str, object], identity: str, at: float) -> list[Recorded]:
        recorded: list[Recorded] = []
        used = mapping(found, "tokens")
        if used:
            more = _usage(used)
            before = self._used.get(identity, Usage())
            _keep(self._used, identity, more)
            if more != before:
                recorded.append(Used(more - before))
        said, calls = _words(found, "content"), objects(found, "toolCalls")
        if self._said.get(identity) != (said, not calls):
            _keep(self._said, identity, (said, not calls))
            recorded.append(Said(said, bool(said) and not calls, at))
        for call in calls:
            recorded += self._of_tool(call)
        return recorded

    def _of_tool(self, call: Mapping[str, object]) -> list[Recorded]:
        tool, status = text(call, "id"), text(call, "status")
        ok = {"success": True, "error": False, "cancelled": False}.get(status)
        if not tool or (tool in self._tools and self._tools[tool] == ok):
            return []
        _keep(self._tools, tool, ok)
        return [Tool(tool, text(call, "name"), text(call, "description") or _argument(mapping(call, "args")), ok)]


def find(home: Path, session: str, reading: Reading) -> list[Path]:
    """Find the files of a conversation: one, and another if it was resumed. Blocks.

    Parameters
    ----------
    home
        What holds Gemini CLI's folder.
    """
    found: list[Path] = []
    ending = f"-{session[:8]}.jsonl"
    for folder in islice(reading.glob(home / ".gemini" / "tmp", "*"), _MOST_FOLDERS):
        found += reading.glob(folder / "chats", f"session-*{glob.escape(ending)}")
    return sorted(found)[-_MOST_FILES:]


def _words(found: Mapping[str, object], name: str) -> str:
    """The text of a message: one, or in parts."""
    return text(found, name) or "".join(text(part, "text") for part in objects(found, name))


def _argument(arguments: Mapping[str, object]) -> str:
    return next((value for value in arguments.values() if isinstance(value, str)), "")


def _failure(said: str) -> Failure:
    if _AUTH.search(said):
        return Failure.AUTH_ERROR
    return Failure.USAGE_LIMIT if _LIMIT.search(said) else Failure.OTHER


def _usage(used: Mapping[str, object]) -> Usage:
    """What it thought is charged as output; what it read from its cache is a part of the input."""
    cached = number(used, "cached")
    return Usage(max(0, number(used, "input") - cached), number(used, "output") + number(used, "thoughts"), cached)


def _keep(known: dict[str, Told], identity: str, told: Told) -> None:
    known.pop(identity, None)
    known[identity] = told
    if len(known) > _MOST_KNOWN:
        del known[next(iter(known))]
