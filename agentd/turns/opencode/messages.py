"""The messages of a conversation, as OpenCode's server lists them, read as the events that they were. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from agentd.turns.fields import mapping, number, objects, text
from agentd.turns.messages.message import CLOCKS

_MILLISECONDS: Final = 1000.0
_GOES_ON: Final = ("tool-calls", "unknown")
"""Why an answer ends after which another one follows."""


def is_prompt(message: Mapping[str, object], since: float) -> bool:
    """Whether it is a message of the user, made since then, in seconds since the epoch."""
    info = mapping(message, "info")
    return text(info, "role") == "user" and number(mapping(info, "time"), "created") / _MILLISECONDS >= since - CLOCKS


def missed(
    said: Sequence[Mapping[str, object]], since: float, turn: str | None, known: Callable[[str], bool], *, idle: bool
) -> Iterator[Mapping[str, object]]:
    """The events of a conversation that were not heard.

    Parameters
    ----------
    said
        Its last messages, in order.
    since
        From when on nothing was heard, in seconds since the epoch.
    turn
        The turn under way then.
    known
        Whether a message of the user was heard of.
    idle
        Whether it was the user's move before the messages were asked for.
    """
    at = next(
        (
            at
            for at, each in enumerate(said)
            if _id(each) == turn or (is_prompt(each, since) and prompt_of(each) and not known(_id(each)))
        ),
        len(said),
    )
    for before, each in zip((None, *said[at:]), said[at:], strict=False):
        if before is not None and _is_over(before) and is_prompt(each, 0.0):
            yield _idle(each)
        yield from as_events(each)
    if idle and at < len(said) and _is_over(said[-1]):
        yield _idle(said[-1])


def under_way(said: Sequence[Mapping[str, object]]) -> str | None:
    """The user's message whose turn is under way, in a conversation that is at work.

    ``None`` if its last turn has ended: what it is at is then no turn, but a summary of it, say.
    """
    at = next((at for at in range(len(said) - 1, -1, -1) if is_prompt(said[at], 0.0) and prompt_of(said[at])), None)
    if at is None or any(_is_over(each) and _finish(each) not in _GOES_ON for each in said[at:]):
        return None
    return _id(said[at])


def _finish(message: Mapping[str, object]) -> str:
    return text(mapping(message, "info"), "finish")


def _id(message: Mapping[str, object]) -> str:
    return text(mapping(message, "info"), "id")


def made_before(said: Sequence[Mapping[str, object]], moment: float) -> frozenset[str]:
    """The messages that were made before then, in seconds since the epoch: a copy keeps their times."""
    return frozenset(
        _id(each)
        for each in said
        if number(mapping(mapping(each, "info"), "time"), "created") / _MILLISECONDS < moment - CLOCKS
    )


def _is_over(message: Mapping[str, object]) -> bool:
    """Whether it is an answer, and nothing is added to it any more."""
    info = mapping(message, "info")
    return text(info, "role") == "assistant" and ("completed" in mapping(info, "time") or "error" in info)


def _idle(message: Mapping[str, object]) -> Mapping[str, object]:
    return {"type": "session.idle", "properties": {"sessionID": text(mapping(message, "info"), "sessionID")}}


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
