"""From the lines of agentd's stream to what happens in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from agentd.gateway.model.objects import EventType, Json, JsonObject
from agentd.turns.conversation import LONGEST_TEXT

Line: TypeAlias = Mapping[str, Json]

_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a turn has come, as far as its output goes."""

    message: int = 0
    """Number of the agent's message that comes next, or is being written."""
    pieces: str = ""
    """What of it was told."""
    last: str | None = None
    """The one before, whole."""

    @property
    def result(self) -> str | None:
        """The newest message, as far as it is known."""
        return self.pieces or self.last

    def next_turn(self) -> Progress:
        """Begin another turn of the same run, which has an answer of its own."""
        return Progress(self.message + (1 if self.pieces else 0))


@dataclass(frozen=True, slots=True)
class Told:
    """An event for those who follow the session."""

    type: EventType
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Began:
    """The agent has the message, and its turn began."""

    turn: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The agent asks for something."""

    request_id: str
    question: bool
    name: str
    text: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What it asked for is decided."""

    request_id: str
    decision: str


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over."""

    outcome: str
    """``completed``, ``interrupted``, ``failed`` or ``lost``."""
    result: str | None
    failure: str | None
    """``usage_limit``, ``auth_error`` or ``other``, of a failed one."""
    error: str | None
    usage: Mapping[str, Json] | None
    agent_run: str | None
    """agentd's id of the run of the agent."""


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """The agent did not get the message, or nobody knows whether it did."""

    status: str
    """``failed``, ``expired`` or ``withdrawn``."""
    error: str | None
    agent_run: str | None


Change: TypeAlias = Told | Began | Asked | Resolved | TurnEnded | NotDelivered


def take(progress: Progress, line: Line, message_id: str) -> tuple[Progress, list[Change]]:
    """Take a line of the stream.

    Parameters
    ----------
    message_id
        The message that was given to agentd: lines of other turns say nothing of the run.
    """
    if line.get("message") != message_id:
        return progress, []
    match line.get("kind"):
        case "message":
            return _message(progress, line)
        case "text_delta":
            return _pieces(progress, _text(line, "text"))
        case "text":
            return _whole(progress, _text(line, "text"))
        case kind:
            return progress, _other(str(kind), line)


def _other(kind: str, line: Line) -> list[Change]:
    match kind:
        case "tool_started":
            data: JsonObject = {name: _text(line, name) for name in ("tool", "name", "text")}
            return [Told(EventType.RUN_TOOL_STARTED, data)]
        case "tool_completed":
            return [
                Told(EventType.RUN_TOOL_COMPLETED, {"tool": _text(line, "tool"), "ok": line.get("ok") is not False})
            ]
        case "permission_asked" | "question_asked":
            choices = line.get("choices")
            known = choices if isinstance(choices, list) else []
            texts = tuple(each for each in known if isinstance(each, str))
            question = kind == "question_asked"
            return [Asked(_text(line, "request"), question, _text(line, "name"), _text(line, "text"), texts)]
        case "permission_resolved":
            request, decision = _text(line, "request"), _text(line, "decision")
            return [Resolved(request, decision), Told(EventType.BACKEND_EVENT, resolved_json(request, decision))]
        case "usage":
            used: JsonObject = {name: line.get(name) for name in (*_TOKENS, "cost_usd")}
            return [Told(EventType.BACKEND_EVENT, {"kind": kind, **used})]
        case _:
            return []


def resolved_json(request: str, decision: str) -> JsonObject:
    """Say how a request was decided."""
    return {"kind": "permission_resolved", "request_id": request, "decision": decision}


def _pieces(progress: Progress, text: str) -> tuple[Progress, list[Change]]:
    if not text:
        return progress, []
    return replace(progress, pieces=progress.pieces + text), [_output(progress, text)]


def _whole(progress: Progress, text: str) -> tuple[Progress, list[Change]]:
    """Take a whole message: what its pieces did not bring is told, and the next one begins."""
    changes: list[Change] = []
    if rest := _rest(progress.pieces, text):
        changes.append(_output(progress, rest))
    told: JsonObject = {"kind": "text", "message": progress.message, "text": text}
    changes.append(Told(EventType.BACKEND_EVENT, told))
    return Progress(progress.message + 1, "", text), changes


def _rest(pieces: str, text: str) -> str:
    """What is left of a text; nothing, if the pieces are of another one, which cannot be taken back."""
    return text.removeprefix(pieces) if text.startswith(pieces) else ""


def _message(progress: Progress, line: Line) -> tuple[Progress, list[Change]]:
    status = _text(line, "status")
    match status:
        case "started":
            return progress, [Began(_text(line, "turn"))]
        case "ended":
            return _ended(progress, line)
        case "failed" | "expired" | "withdrawn":
            return progress, [NotDelivered(status, _optional(line, "error"), _optional(line, "run"))]
        case _:
            return progress, []


def _ended(progress: Progress, line: Line) -> tuple[Progress, list[Change]]:
    final = _optional(line, "final_text")
    changes: list[Change] = []
    rest = _left(progress, final) if final else ""
    if rest:
        changes.append(_output(progress, rest))
    ended = TurnEnded(
        outcome=_text(line, "outcome"),
        result=_longer(progress.result, final),
        failure=_optional(line, "failure"),
        error=_optional(line, "error"),
        usage=usage_of(line.get("usage")),
        agent_run=_optional(line, "run"),
    )
    if rest or progress.pieces:
        # The end is told again once more is known of what the turn used.
        progress = Progress(progress.message + 1, "", ended.result)
    return progress, [*changes, ended]


def _left(progress: Progress, final: str) -> str:
    """What of the answer was not told: some harnesses give it with the end alone."""
    if progress.pieces:
        return _rest(progress.pieces, final)
    last = progress.last
    if last is not None and (last.strip() in final or _longer(last, final) == last):
        return ""
    return final


def _longer(told: str | None, final: str | None) -> str | None:
    """Give the answer; agentd keeps the beginning of a very long one, and tells all of it while it is written."""
    if final is None or (told is not None and len(final) >= LONGEST_TEXT and told.startswith(final)):
        return told
    return final


def usage_of(used: Json) -> JsonObject | None:
    """Read what a turn used; ``None`` if the harness did not say."""
    if not isinstance(used, dict) or not any(used.get(name) for name in _TOKENS):
        return None
    known: JsonObject = {name: used.get(name) or 0 for name in _TOKENS}
    known["total_tokens"] = sum(value for value in known.values() if isinstance(value, int))
    known["cost_usd"] = used.get("cost_usd")
    return known


def _output(progress: Progress, text: str) -> Told:
    return Told(EventType.RUN_OUTPUT, {"text": text, "message": progress.message})


def _text(line: Line, name: str) -> str:
    value = line.get(name)
    return value if isinstance(value, str) else ""


def _optional(line: Line, name: str) -> str | None:
    value = line.get(name)
    return value if isinstance(value, str) else None
