"""What agentd is still to be told of the conversation. Pure.

A daemon that ends loses nothing: what it has not taken waits, and one that knows nothing is told where the conversation
stands first. Each batch has a number, so that one that arrives twice is taken once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final

from agentd.turns.conversation import LONGEST_TEXT, Conversation, take
from agentd.turns.events import PermissionAsked, Started, Text, TextDelta, TurnEvent, name_of

JsonObject = dict[str, object]

_LONGEST_BATCH: Final = 256 * 1024
"""Bytes after which a batch gets no further event."""
_LONGEST_STRING: Final = 768 * 1024
"""Bytes of one text as JSON: the daemon reads 1 MiB of a hook."""
_WORST: Final = 6
"""Bytes of one character as JSON."""
_LONGEST_DELTA: Final = 32 * 1024
"""Characters up to which pieces of an answer that wait are joined."""
_MOST: Final = 10_000
"""Events that wait for a daemon; of older ones it will learn only what they led to."""


def posted(event: TurnEvent) -> JsonObject:
    """Write an event as a hook posts it; `agentd.turns.custom.events` reads it."""
    fields = {key: _short(value) if isinstance(value, str) else value for key, value in asdict(event).items()}
    return {"event": name_of(event), **fields}


@dataclass(slots=True)
class Outbox:
    """What waits to be told."""

    conversation: str | None = None
    """The agent's id of it."""
    unsure: bool = False
    """Whether the daemon may know nothing: a batch, empty if need be, shows it."""
    _answers: list[JsonObject] = field(default_factory=list)
    _told: Conversation = field(default_factory=Conversation)
    """What the daemon knows by what it has taken."""
    _waiting: list[TurnEvent] = field(default_factory=list)
    _sent: int = 0
    """How many of those are in the batch that is under way."""
    _number: int = 0
    _whole: bool = True
    """Whether the next batch is for a daemon that knows nothing."""
    _asked: object = None
    """The turn whose end it asks for."""

    def put(self, event: TurnEvent) -> None:
        """Have an event told."""
        last = self._waiting[-1] if len(self._waiting) > self._sent else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta) and len(last.text) < _LONGEST_DELTA:
            self._waiting[-1] = TextDelta(last.text + event.text)
        else:
            self._waiting.append(event)
        if len(self._waiting) > _MOST and not self._sent:
            self._pass_over(_MOST // 2)

    def answered(self, request: str, problem: str | None) -> None:
        """Have it told whether an answer of agentd's counted, or why not."""
        self._answers.append({"request": request, "problem": problem})

    @property
    def pending(self) -> bool:
        """Whether there is anything to tell: nothing before there is a conversation."""
        return self.conversation is not None and (bool(self._waiting or self._answers) or self._whole or self.unsure)

    def batch(self) -> bytes:
        """Write the next batch; until it is taken or refused, the same."""
        told = [posted(event) for event in _standing(self._told, self._asked)] if self._whole else []
        size = sum(len(_json(each)) for each in told)
        if not self._sent:
            self._number += 1
            for event in self._waiting:
                size += len(_json(posted(event)))
                if self._sent and size > _LONGEST_BATCH:
                    break
                self._sent += 1
        told += map(posted, self._waiting[: self._sent])
        document = {
            "n": self._number,
            "whole": self._whole,
            "conversation": self.conversation,
            "events": told,
            "answers": self._answers,
        }
        return _json(document)

    def taken(self) -> None:
        """The daemon has taken the batch."""
        self._pass_over(self._sent)
        self._sent, self._whole, self.unsure = 0, False, False
        self._answers.clear()

    def unknown(self, turn: object) -> None:
        """The daemon knows nothing, and took nothing.

        Parameters
        ----------
        turn
            Id of the turn that a former one saw begin, if that is all that it knows.
        """
        self._sent, self._whole, self._asked = 0, True, turn

    def _pass_over(self, number: int) -> None:
        for event in self._waiting[:number]:
            self._told = take(self._told, event, 0.0)
        del self._waiting[:number]


def _standing(conversation: Conversation, asked: object) -> list[TurnEvent]:
    """Give the events that lead to where a conversation stands; of a turn that has ended only if it is asked for."""
    turn, last = conversation.turn, conversation.last
    if turn is None:
        if last is None or last.end is None or last.id != asked:
            return []
        return [Started(last.id, last.prompt), last.usage, last.end]
    events: list[TurnEvent] = [Started(turn.id, turn.prompt)]
    if turn.text:
        events.append(Text(turn.text) if turn.whole else TextDelta(turn.text))
    events += turn.tools
    events += [PermissionAsked(each.id, "", each.text, each.tool, each.choices) for each in conversation.requests]
    return events


def _short(text: str) -> str:
    text = text[:LONGEST_TEXT]
    while len(text) * _WORST > _LONGEST_STRING and (size := len(_json(text))) > _LONGEST_STRING:
        text = text[: len(text) * _LONGEST_STRING // size]
    return text


def _json(value: object) -> bytes:
    # A lone surrogate is no character.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
