"""Codex's rollout file, a JSON object a line: a conversation, and when what was said. Pure.

Everything is read defensively: a line that is damaged, or in a format that is not known, says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agentd.text.iso8601 import seconds_of
from agentd.turns.codex.quota import windows
from agentd.turns.conversation import NO_USAGE
from agentd.turns.events import Ended, Failure, Outcome, Started, Text, ToolCompleted, ToolStarted, TurnEvent, Usage
from agentd.turns.fields import mapping, number, objects, text
from agentd.turns.quota import QuotaWindow

_CALLS: Final = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
_RUNS: Final = frozenset({"CommandExecution", "FileChange", "McpToolCall"})

_OF_PROGRAMS: Final = frozenset({"exec", "mcp"})
"""Sources of conversations that an agent may begin itself, by a command."""

_REFUSED: Final = "exec_command failed: "
_ABORTED: Final = "aborted by user"
"""How the output of a tool begins, or ends, that was not run."""

_SHOWN: Final = ("cmd", "command", "path", "query", "url", "pattern", "prompt", "input")
"""What of a tool's arguments tells a person most, best first."""

_LONGEST_SHOWN: Final = 500

_FAILURES: Final = {
    "usage_limit_exceeded": Failure.USAGE_LIMIT,
    "unauthorized": Failure.AUTH_ERROR,
    401: Failure.AUTH_ERROR,
    403: Failure.AUTH_ERROR,
    429: Failure.USAGE_LIMIT,
}
"""By Codex's name for what went wrong, or the status of the server's answer."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a line tells."""

    at: float
    """When it was written, in seconds since the epoch."""
    events: tuple[TurnEvent, ...]
    working: bool | None
    """Whether a turn is under way from then on; ``None`` if that is not known."""
    quota: tuple[QuotaWindow, ...] = ()


@dataclass(slots=True)
class Rollout:
    """Reads the lines of a file, in order."""

    _open: bool = False
    """Whether a turn is under way, whose beginning was read."""
    _begun: str | None = None
    """That turn, if its message has not come yet, which stands some lines further on."""
    _records: bool = False
    """Whether usage is recorded for each answer; older versions tell totals alone."""
    _total: Usage = NO_USAGE

    def read(self, line: bytes) -> Told | None:
        """What a line says; ``None`` if nothing of turns."""
        try:
            found = json.loads(line)
            at = seconds_of(found["timestamp"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if at is None:
            return None
        body, was_open = mapping(found, "payload"), self._open
        events = tuple(self._events(found.get("type"), body))
        quota = windows(mapping(body, "rate_limits"))
        if self._open:
            return Told(at, events, working=True, quota=quota)
        told = Told(at, events, working=False if was_open else None, quota=quota)
        return told if was_open or events or quota else None

    def forget(self) -> None:
        """The turn that is under way so far was another run's, which it ended with."""
        self._open, self._begun = False, None

    def _events(self, kind: object, body: Mapping[str, object]) -> Iterator[TurnEvent]:
        event = text(body, "type")
        if kind == "token_usage_record":
            self._records = True
            yield _usage(mapping(body, "usage"))
        elif kind == "event_msg" and event == "token_count":
            if not self._records:
                yield from self._of_total(mapping(mapping(body, "info"), "total_token_usage"))
        elif kind == "event_msg" and event == "task_started":
            if self._open and self._begun is None:
                yield Ended(Outcome.LOST, error="the next turn began without its end")
            self._begun, self._open = text(body, "turn_id") or None, True
        elif self._open and kind == "event_msg":
            yield from self._of_event(event, body)
        elif self._open and kind == "response_item":
            yield from self._of_item(event, body)

    def _start(self, prompt: str | None = None) -> Iterator[TurnEvent]:
        if self._begun is not None:
            turn, self._begun = self._begun, None
            yield Started(turn, prompt)

    def _of_event(self, event: str, body: Mapping[str, object]) -> Iterator[TurnEvent]:
        if event == "item_completed":
            yield from self._of_done(mapping(body, "item"))
        elif event in ("turn_aborted", "task_complete"):
            end = Ended(Outcome.INTERRUPTED) if event == "turn_aborted" else _end(body)
            # Where nothing was asked and nothing answered, it only put its memory in order.
            if self._begun is None or end != Ended(Outcome.COMPLETED):
                yield from self._start()
                yield end
            self._open, self._begun = False, None

    def _of_done(self, item: Mapping[str, object]) -> Iterator[TurnEvent]:
        kind, said = text(item, "type"), "".join(text(each, "text") for each in objects(item, "content"))
        if kind == "UserMessage":
            yield from self._start(said)
        elif kind == "AgentMessage":
            yield from self._start()
            yield Text(said)
        elif kind in _RUNS and (tool := text(item, "id")):
            yield ToolCompleted(tool, ok=text(item, "status") == "completed")

    def _of_item(self, kind: str, body: Mapping[str, object]) -> Iterator[TurnEvent]:
        tool, output = text(body, "call_id"), text(body, "output")
        if tool and kind in _CALLS:
            yield from self._start()
            yield ToolStarted(tool, text(body, "name") or kind, _summary(body))
        elif tool and kind in _OUTPUTS:
            yield ToolCompleted(tool, ok=not (output.startswith(_REFUSED) or output.endswith(_ABORTED)))

    def _of_total(self, totals: Mapping[str, object]) -> Iterator[TurnEvent]:
        if totals:
            total = _usage(totals)
            more, self._total = total - self._total, total
            if more != NO_USAGE:
                yield more


def is_of_user(line: bytes) -> bool:
    """Whether a file, by its first line, holds a conversation of a terminal, and not a subagent's or a command's."""
    source = _source(line)
    return source is not None and source not in _OF_PROGRAMS


def is_of_command(line: bytes) -> bool:
    """Whether a file, by its first line, holds what ``codex exec`` did."""
    return _source(line) == "exec"


def _source(line: bytes) -> str | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") != "session_meta":
        return None
    meta = mapping(found, "payload")
    source = meta.get("source")
    return source if isinstance(source, str) and meta.get("thread_source", "user") == "user" else None


def _end(body: Mapping[str, object]) -> Ended:
    error = body.get("error")
    if isinstance(error, dict):
        return Ended(Outcome.FAILED, None, _failure(error.get("codex_error_info")), text(error, "message") or None)
    answer = body.get("last_agent_message")
    return Ended(Outcome.COMPLETED, answer if isinstance(answer, str) else None)


def _failure(info: object) -> Failure:
    if isinstance(info, dict):
        statuses = [number(each, "http_status_code") for each in info.values() if isinstance(each, dict)]
        return next((_FAILURES[status] for status in statuses if status in _FAILURES), Failure.OTHER)
    return _FAILURES.get(info, Failure.OTHER) if isinstance(info, str) else Failure.OTHER


def _usage(used: Mapping[str, object]) -> Usage:
    """Codex counts what came from its cache, or went there, to the input, too."""
    read, write = number(used, "cached_input_tokens"), number(used, "cache_write_input_tokens")
    return Usage(max(0, number(used, "input_tokens") - read - write), number(used, "output_tokens"), read, write)


def _summary(body: Mapping[str, object]) -> str:
    given = text(body, "arguments") or text(body, "input")
    try:
        found = json.loads(given)
    except (ValueError, RecursionError):
        found = None
    shown = [text(found, name).strip() for name in _SHOWN] if isinstance(found, dict) else []
    return next(filter(None, shown), given[:_LONGEST_SHOWN])
