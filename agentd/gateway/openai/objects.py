"""The objects of OpenAI's interface, as JSON. Pure.

Each has all the fields that OpenAI's own client knows of it; the tests hold them against the client's models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

JsonObject: TypeAlias = dict[str, object]

OWN_LABEL: Final = "agentd"
"""Server label of the calls by which an agent asks its user something."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a response when it is asked for, and never changes."""

    id: str
    created_at: int
    """Seconds since the epoch."""
    model: str
    harness: str
    background: bool
    asked: Mapping[str, object]
    """The parameters of the request that a response shows again."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a response has come."""

    status: str
    output: Sequence[JsonObject] = ()
    completed_at: int | None = None
    error: JsonObject | None = None
    usage: JsonObject | None = None


def response(facts: Facts, state: State) -> JsonObject:
    """Show a response."""
    asked = facts.asked
    conversation = asked.get("conversation")
    return {
        "id": facts.id,
        "object": "response",
        "created_at": facts.created_at,
        "status": state.status,
        "background": facts.background,
        "completed_at": state.completed_at,
        "error": state.error,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": asked.get("metadata") or {},
        "model": facts.model,
        "output": list(state.output),
        "parallel_tool_calls": _given(asked, "parallel_tool_calls", default=True),
        "previous_response_id": asked.get("previous_response_id"),
        "conversation": None if conversation is None else {"id": conversation},
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **_mapping(asked.get("reasoning"))},
        "safety_identifier": asked.get("safety_identifier"),
        # The one that served it, whichever was asked for: an agent has no other.
        "service_tier": "default",
        "store": _given(asked, "store", default=True),
        "temperature": asked.get("temperature"),
        "text": {"format": {"type": "text"}, **_mapping(asked.get("text"))},
        "tool_choice": _given(asked, "tool_choice", default="auto"),
        "tools": [],
        "top_logprobs": _given(asked, "top_logprobs", default=0),
        "top_p": asked.get("top_p"),
        "truncation": _given(asked, "truncation", default="disabled"),
        "usage": state.usage,
        "user": asked.get("user"),
    }


SHOWN_AGAIN: Final = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id", "prompt_cache_key",
    "reasoning", "safety_identifier", "store", "temperature", "text", "tool_choice", "top_logprobs",
    "top_p", "truncation", "user",
)  # fmt: skip
"""The parameters of a request that a response shows again, as they were given."""


def _given(asked: Mapping[str, object], name: str, *, default: object) -> object:
    value = asked.get(name)
    return default if value is None else value


def _mapping(value: object) -> Mapping[str, object]:
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, Mapping) else {}


def output_text(text: str) -> JsonObject:
    """Show a piece of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message(item: str, role: str, text: str, status: str = "completed") -> JsonObject:
    """Show a message; what the agent said is output, all else is input."""
    content = output_text(text) if role == "assistant" else {"type": "input_text", "text": text}
    return {"id": item, "type": "message", "role": role, "status": status, "content": [content]}


def mcp_call(
    item: str, label: str, name: str, arguments: Mapping[str, object], request: str | None = None
) -> JsonObject:
    """Show a use of a tool that has begun."""
    return {
        "id": item,
        "type": "mcp_call",
        "server_label": label,
        "name": name,
        "arguments": json.dumps(arguments, ensure_ascii=False),
        "approval_request_id": request,
        "status": "in_progress",
        "error": None,
        "output": None,
    }


def tool_error(text: str) -> JsonObject:
    """Show why the use of a tool failed."""
    return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}


def usage(reported: Mapping[str, object] | None) -> JsonObject | None:
    """Show what the model used, from agentd's counts; ``None`` where the harness says nothing.

    agentd counts the tokens of the cache by themselves, OpenAI counts them to the input.
    """
    if reported is None:
        return None
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    fresh, output, read, write = (_count(reported.get(name)) for name in names)
    if not fresh + output + read + write:
        return None
    entire = fresh + read + write
    return {
        "input_tokens": entire,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": entire + output,
    }


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


_CODES: Final = {"usage_limit": "rate_limit_exceeded"}
"""Of a run's error in OpenAI's words, which are a closed set."""


def response_error(error: object) -> JsonObject:
    """Show why a response failed."""
    found = error if isinstance(error, Mapping) else {}
    code, text = found.get("code"), found.get("message")
    said = text if isinstance(text, str) and text else "the agent did not finish its turn"
    known = _CODES.get(code, "server_error") if isinstance(code, str) else "server_error"
    return {"code": known, "message": said if known != "server_error" or not code else f"{said} ({code})"}


def model(name: str, harness: str, created: int) -> JsonObject:
    """Show an agent as a model."""
    return {"id": name, "object": "model", "created": created, "owned_by": harness}


def conversation(identity: str, created_at: int, metadata: Mapping[str, str]) -> JsonObject:
    """Show a conversation."""
    return {"id": identity, "object": "conversation", "created_at": created_at, "metadata": dict(metadata)}


def page(items: Sequence[JsonObject], *, more: bool) -> JsonObject:
    """Show a part of a list; without items its ends are empty, as the client has no null for them."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else "",
        "last_id": items[-1]["id"] if items else "",
        "has_more": more,
    }
