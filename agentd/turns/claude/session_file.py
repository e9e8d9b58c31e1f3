"""Claude Code's session file, a JSON object a line: usage, and the word on turns that end without a hook. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentd.text.iso8601 import seconds_of
from agentd.turns.claude.hooks import ASK, question_of
from agentd.turns.events import Usage
from agentd.turns.fields import mapping, objects, text

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9]")
_INTERRUPTED = "[Request interrupted by user"
_OF_COMMANDS = ("<command-", "<local-command-")
"""How messages begin that stand for a command of Claude Code's own, which is no turn."""
_SYNTHETIC = "<synthetic>"
"""The model of what Claude Code itself writes into a conversation."""

_MOST_ANSWERS = 64
"""Answers of the model whose usage may still grow."""


def session_path(config: Path, workdir: str, session: str) -> Path:
    """Where the file of a conversation stands.

    Parameters
    ----------
    config
        Claude Code's folder.
    """
    return config / "projects" / _NOT_IN_NAMES.sub("-", workdir) / f"{session}.jsonl"


@dataclass(frozen=True, slots=True)
class Prompted:
    """A message was taken."""

    turn: str
    prompt: str
    at: float = field(default=0.0, compare=False)
    """Seconds since the epoch; 0 where it is not said."""


@dataclass(frozen=True, slots=True)
class Said:
    """The model said something, whole."""

    text: str
    final: bool
    """Whether that is where its turn ends."""
    turn: str | None = None


@dataclass(frozen=True, slots=True)
class Asks:
    """The model asks the user a question."""

    text: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The user interrupted the turn."""


@dataclass(frozen=True, slots=True)
class Errored:
    """The turn ended with an error of the API."""

    error: str
    text: str


@dataclass(frozen=True, slots=True)
class Used:
    """What the model used, beyond what was told of the same answer before."""

    usage: Usage


Recorded = Prompted | Said | Asks | Interrupted | Errored | Used


@dataclass(slots=True)
class Session:
    """Reads the lines of a file, in order."""

    _answers: dict[str, Usage] = field(default_factory=dict)

    def read(self, line: bytes) -> list[Recorded]:
        """What a line says; nothing if it is damaged, or in a format that is not known."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return []
        if not isinstance(found, dict) or found.get("isSidechain") is True:
            return []
        match found.get("type"):
            case "user":
                return _of_user(found)
            case "assistant":
                return self._of_model(found)
            case _:
                return []

    def _of_model(self, found: Mapping[str, object]) -> list[Recorded]:
        message = mapping(found, "message")
        said = "".join(text(part, "text") for part in objects(message, "content") if part.get("type") == "text")
        if found.get("isApiErrorMessage") is True:
            return [Errored(text(found, "error"), said)]
        if message.get("model") == _SYNTHETIC:
            return []
        recorded: list[Recorded] = []
        used, identity = mapping(message, "usage"), text(message, "id")
        if used and identity:
            recorded.append(Used(self._more(identity, _usage(used))))
        if said:
            recorded.append(Said(said, message.get("stop_reason") == "end_turn"))
        recorded += [
            Asks(question_of(mapping(part, "input")))
            for part in objects(message, "content")
            if part.get("type") == "tool_use" and part.get("name") == ASK
        ]
        return recorded

    def _more(self, identity: str, usage: Usage) -> Usage:
        """What was not told yet: each block of an answer is a line of its own, and repeats the usage of the whole."""
        before = self._answers.pop(identity, Usage())
        self._answers[identity] = usage
        if len(self._answers) > _MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return Usage(
            max(0, usage.input_tokens - before.input_tokens),
            max(0, usage.output_tokens - before.output_tokens),
            max(0, usage.cache_read_tokens - before.cache_read_tokens),
            max(0, usage.cache_write_tokens - before.cache_write_tokens),
        )


def _of_user(found: Mapping[str, object]) -> list[Recorded]:
    message = mapping(found, "message")
    said = message.get("content")
    if isinstance(said, str):
        turn = text(found, "promptId")
        own = found.get("isMeta") is True or said.startswith(_OF_COMMANDS)
        return [Prompted(turn, said, seconds_of(text(found, "timestamp")) or 0.0)] if turn and not own else []
    parts = [text(part, "text") for part in objects(message, "content") if part.get("type") == "text"]
    return [Interrupted()] if any(part.startswith(_INTERRUPTED) for part in parts) else []


def _usage(used: Mapping[str, object]) -> Usage:
    return Usage(
        _count(used, "input_tokens"),
        _count(used, "output_tokens"),
        _count(used, "cache_read_input_tokens"),
        _count(used, "cache_creation_input_tokens"),
    )


def _count(used: Mapping[str, object], name: str) -> int:
    value = used.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
