"""Messages by brokers: what is read from them, and what is written. No broker is spoken to here."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final, TypeAlias

from pydantic_core import from_json

from agentd.gateway.model.objects import Event, EventType, Json, JsonObject
from agentd.text.timestamps import rfc3339_milliseconds

LARGEST: Final = 8 << 20
"""Bytes of a message, as of the body of a request."""

DEEPEST: Final = 64
"""How deep a message may be nested, as a request's body."""

OWN: Final = ("assistant", "status", "tool_call", "tool_result", "tool_confirmation_request")
"""The types that the gateway writes: it does not read them back."""

RELEVANT: Final = (
    EventType.MESSAGE_CREATED,
    EventType.RUN_STARTED,
    EventType.RUN_TOOL_STARTED,
    EventType.RUN_TOOL_COMPLETED,
    EventType.RUN_AWAITING_INPUT,
    EventType.RUN_SUCCEEDED,
    EventType.RUN_FAILED,
    EventType.RUN_CANCELED,
    EventType.RUN_TIMED_OUT,
)
"""The events of runs of which those at the other end of a channel hear."""

CONFIRMATIONS: Final = (EventType.TOOL_CONFIRMATION_REQUEST, EventType.TOOL_CONFIRMATION_RESPONSE)
"""The events of a managed agent of which its channels hear, whoever began the turn."""

_STATUS: Final = {
    EventType.RUN_STARTED: "running",
    EventType.RUN_SUCCEEDED: "succeeded",
    EventType.RUN_FAILED: "failed",
    EventType.RUN_CANCELED: "canceled",
    EventType.RUN_TIMED_OUT: "timed_out",
}


LONGEST_ID: Final = 1000
"""Characters of what a sender calls a message, or its conversation."""

_CUT: Final = (100_000, 1000)
"""Characters that are left of a text that is too large for a broker."""
_TEXTS: Final = ("content", "arguments")
"""What may be that large."""

_OBJECT_BEGINS: Final = re.compile(r'\s*\{\s*"')
_BEGINNINGS: Final = ("{", "[", '"')
_TOO_SHORT: Final = "EOF while parsing"
"""How the parser says that more would have to come."""


@dataclass(frozen=True, slots=True)
class Said:
    """Something for the agent."""

    text: str
    channel_id: Json = None
    """Which conversation it belongs to; given back with all answers."""
    metadata: Json = None
    """Given back with all answers."""
    id: str | None = None
    """Its sender's own."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What somebody decided about what an agent asked."""

    request_id: str
    confirmed: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing for the gateway."""

    own: bool
    """Whether it is what the gateway writes."""


@dataclass(frozen=True, slots=True)
class Bad:
    """It cannot be understood."""

    reason: str


Read: TypeAlias = Said | Decided | Skipped | Bad


def read(data: bytes) -> Read:
    """Read what came by a channel: an object with a ``type``, or else what is said to the agent, as JSON or as text."""
    if len(data) > LARGEST:
        return Bad(f"found {len(data)} bytes, expected at most {LARGEST}")
    # Some programs begin all that they write with it; it is no part of the text.
    data = data.removeprefix(BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Bad(f"expected UTF-8, found something else at byte {error.start}")
    try:
        value: Json = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        return Bad(f"expected JSON: {error}") if _is_broken_json(text, str(error)) else _said(text)
    match value:
        case dict():
            return _object(value)
        case list():
            return Skipped(own=False)
        case str():
            return _said(value)
        case _:
            return _said(text)


def _is_broken_json(text: str, error: str) -> bool:
    """Whether it was to be JSON: no text begins as an object with a name, or ends within JSON that it began."""
    return _OBJECT_BEGINS.match(text) is not None or (_TOO_SHORT in error and text.lstrip().startswith(_BEGINNINGS))


def _object(value: JsonObject) -> Read:
    wrong = _unusable(value)
    if wrong is not None:
        return Bad(wrong)
    match value.get("type"):
        case "user":
            return _user(value)
        case "tool_confirmation_response":
            # The gateway's own says by whom.
            return Skipped(own=True) if "decided_by" in value else _decided(value)
        case kind:
            return Skipped(own=kind in OWN)


def _user(value: JsonObject) -> Read:
    content = value.get("content")
    if not isinstance(content, str):
        return Bad("content: expected a text")
    channel_id, identity = value.get("channel_id"), value.get("id")
    if isinstance(channel_id, (list, dict)):
        return Bad("channel_id: expected a text or a number")
    for name, text in (("channel_id", str(channel_id)), ("id", str(identity))):
        if len(text) > LONGEST_ID:
            return Bad(f"{name}: found {len(text)} characters, expected at most {LONGEST_ID}")
        if "\0" in text:
            return Bad(f"{name}: found NUL, expected text without")
    said = _said(content)
    if isinstance(said, Bad):
        return said
    own = identity if isinstance(identity, str) and identity else None
    return Said(content, channel_id, value.get("metadata"), own)


def _said(text: str) -> Said | Bad:
    if not text.strip():
        return Bad("expected a text, found none")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return Bad("found NUL or half of a surrogate pair, which no terminal takes")
    return Said(text)


def _decided(value: JsonObject) -> Read:
    request_id, confirmed, text = value.get("request_id"), value.get("confirmed"), value.get("text")
    if not isinstance(request_id, str) or not request_id:
        return Bad("request_id: expected the request's")
    if not isinstance(confirmed, bool):
        return Bad("confirmed: expected true or false")
    return Decided(request_id, confirmed, text if isinstance(text, str) else "")


def _unusable(value: Json) -> str | None:
    """Say why an object cannot be used, whatever it says."""
    waiting: list[tuple[Json, int]] = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if depth > DEEPEST:
            return f"nested deeper than {DEEPEST}"
        if isinstance(each, float) and not isfinite(each):
            return "found a number that is too large"
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        waiting += ((part, depth + 1) for part in inner)
    return None


@dataclass(frozen=True, slots=True)
class Origin:
    """A message that came by a channel, as far as answers need it."""

    run_id: str
    in_reply_to: str
    """Its sender's own id of it, or else the broker's."""
    channel_id: Json
    metadata: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """Something for those at the other end of a channel."""

    id: str
    """The same however often it is sent."""
    key: str
    """The same for all of a conversation: these stay in order."""
    body: Mapping[str, Json]

    def smaller(self) -> Answer | None:
        """Give it without its metadata, or else with less text; ``None`` if there is nothing left to leave out."""
        if self.body.get("metadata"):
            return replace(self, body={**self.body, "metadata": {}, "truncated": True})
        for most in _CUT:
            cut = {name: text[:most] for name in _TEXTS if len(text := _text(self.body.get(name))) > most}
            if cut:
                return replace(self, body={**self.body, **cut, "truncated": True})
        return None

    def encoded(self) -> bytes:
        """Write it as it is sent."""
        # Half of a surrogate pair, in metadata, becomes the escape that JSON has for it.
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def answer_of(event: Event, origin: Origin, agent: str) -> Answer | None:
    """Say what those at the other end hear of an event of a run that came from them, if anything."""
    said = _content(event, agent)
    if said is None:
        return None
    body: JsonObject = {
        **said,
        "in_reply_to": origin.in_reply_to,
        "channel_id": origin.channel_id,
        "metadata": {} if origin.metadata is None else origin.metadata,
        "id": event.id,
        "agent_name": agent,
        "session_id": event.session_id,
        "run_id": origin.run_id,
        "timestamp": rfc3339_milliseconds(event.created_at),
    }
    return Answer(event.id, event.session_id if origin.channel_id is None else str(origin.channel_id), body)


def confirmation_of(event: Event) -> Answer:
    """Say what those at the other end hear of a tool of a managed agent's that somebody has to confirm."""
    common: JsonObject = {"id": event.id, "session_id": event.session_id}
    body = {"type": event.event_type.value, "timestamp": rfc3339_milliseconds(event.created_at), **event.data, **common}
    return Answer(event.id, event.session_id, body)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _content(event: Event, agent: str) -> JsonObject | None:
    data = event.data
    match event.event_type:
        case EventType.MESSAGE_CREATED:
            return {"type": "assistant", "content": data.get("text")} if data.get("role") == "assistant" else None
        case EventType.RUN_TOOL_STARTED:
            called: JsonObject = {"tool_call_id": data.get("tool"), "tool_name": data.get("name")}
            return {"type": "tool_call", **called, "arguments": data.get("text")}
        case EventType.RUN_TOOL_COMPLETED:
            return {"type": "tool_result", "tool_call_id": data.get("tool"), "ok": data.get("ok")}
        case EventType.RUN_AWAITING_INPUT:
            return _asked(data, agent)
        case kind if kind in _STATUS:
            status: JsonObject = {"type": "status", "status": _STATUS[kind]}
            return {**status, "error": data["error"]} if data.get("error") is not None else status
        case _:
            return None


def _asked(data: Mapping[str, Json], agent: str) -> JsonObject:
    if data.get("kind") != "permission":
        asked: JsonObject = {"request_id": data.get("request_id"), "content": data.get("text")}
        return {"type": "status", "status": "awaiting_input", **asked, "choices": data.get("choices")}
    return {
        "type": "tool_confirmation_request",
        "request_id": data.get("request_id"),
        "server_name": None,
        "tool_name": data.get("name"),
        "arguments": data.get("text"),
        "timeout_ms": None,
        "agent_name": agent,
    }


def buried(data: bytes, reason: str, source: str, most: int = LARGEST) -> bytes:
    """Write a bad message as it is put aside, with so many characters of it."""
    message = data[:most].decode(errors="backslashreplace")[:most]
    body = {"reason": reason, "source": source, "message": message}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
