"""The messages of a conversation, as OpenCode's server lists them, read as the events that they were. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agentd.turns.fields import mapping, number, objects, text
from agentd.turns.messages.message import CLOCKS

_MILLISECONDS: Final = 1000.0


def is_prompt(message: Mapping[str, object], since: float) -> bool:
    """Whether it is a message of the user, made since then, in seconds since the epoch."""
    info = mapping(message, "info")
    return text(info, "role") == "user" and number(mapping(info, "time"), "created") / _MILLISECONDS >= since - CLOCKS


def prompt_of(message: Mapping[str, object]) -> str:
    """What the user said."""
    return "".join(
        text(part, "text")
        for part in objects(message, "parts")
        if text(part, "type") == "text" and part.get("synthetic") is not True
    )


def as_events(message: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The events that made it what it is."""
    yield {"type": "message.updated", "properties": {"info": mapping(message, "info")}}
    for part in objects(message, "parts"):
        yield {"type": "message.part.updated", "properties": {"part": part}}
