"""Chat completions: what is asked, and the answer whole and in pieces. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from agentd.gateway.openai.choices import CacheRetention, ServiceTier
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.refusal import refuse
from agentd.gateway.openai.request import Metadata, Number, Whole, check_format, check_model, check_tools
from agentd.gateway.openai.said import items_of


class CreateCompletion(BaseModel):
    """The body of ``POST /v1/chat/completions``."""

    model_config = ConfigDict(extra="forbid")

    model: str
    messages: Annotated[list[object], Field(min_length=1)]
    stream: StrictBool | None = None
    stream_options: dict[str, object] | None = None

    # Passed over.
    metadata: Metadata | None = None
    parallel_tool_calls: StrictBool | None = None
    prediction: dict[str, object] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, object] | None = None
    prompt_cache_retention: CacheRetention | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: ServiceTier | None = None
    store: StrictBool | None = None
    user: str | None = None

    # Refused, unless they ask for what is so anyway.
    audio: dict[str, object] | None = None
    frequency_penalty: Number | None = None
    function_call: str | dict[str, object] | None = None
    functions: list[object] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: StrictBool | None = None
    max_completion_tokens: Whole | None = None
    max_tokens: Whole | None = None
    modalities: list[str] | None = None
    moderation: dict[str, object] | None = None
    n: int | None = None
    presence_penalty: Number | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, object] | None = None
    stop: str | list[str] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    tool_choice: str | dict[str, object] | None = None
    tools: list[object] | None = None
    top_logprobs: Whole | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    verbosity: str | None = None
    web_search_options: dict[str, object] | None = None

    @property
    def shows_usage(self) -> bool:
        """Whether the last piece of a stream shows the usage."""
        return (self.stream_options or {}).get("include_usage") is True


_OF_MODEL: Final = {
    "frequency_penalty", "max_completion_tokens", "max_tokens", "presence_penalty", "reasoning_effort", "temperature",
    "top_p", "verbosity",
}  # fmt: skip
"""Parameters that would have the agent's model answer in another way."""


def check_completion(asked: CreateCompletion) -> None:
    """Refuse what cannot be had.

    Raises
    ------
    ApiError
        Of status 400, which names the parameter.
    """
    check_tools(asked.tools or asked.functions, asked.tool_choice or asked.function_call)
    check_format(asked.response_format, "response_format")
    check_model(asked.model_dump(include=_OF_MODEL))
    others = [each for each in asked.modalities or [] if each != "text"]
    refused = {
        "n": (asked.n not in (None, 1), "An agent gives one answer: leave it out."),
        "stop": (bool(asked.stop), "An agent is not stopped by its own words."),
        "logit_bias": (bool(asked.logit_bias), "An agent's model takes no probabilities of tokens."),
        "logprobs": (bool(asked.logprobs), "An agent's model tells no probabilities of tokens."),
        "top_logprobs": (bool(asked.top_logprobs), "An agent's model tells no probabilities of tokens."),
        "modalities": (bool(others), "An agent answers in text."),
        "audio": (asked.audio is not None, "An agent answers in text."),
        "moderation": (asked.moderation is not None, "Nothing is moderated here."),
        "web_search_options": (asked.web_search_options is not None, "Whether an agent searches is its own affair."),
    }
    for name, (wanted, why) in refused.items():
        if wanted:
            raise refuse(name, f"'{name}' is not supported. {why}")


def items_of_messages(messages: Sequence[object], new_id: Callable[[str], str]) -> list[JsonObject]:
    """Understand the messages of a chat.

    Raises
    ------
    ApiError
        If one cannot be told to an agent.
    """
    for number, each in enumerate(messages):
        if isinstance(each, Mapping) and (each.get("role") in ("tool", "function") or each.get("tool_calls")):
            raise refuse(
                f"messages[{number}]", "An agent cannot be told of other tools than its own.", "unsupported_value"
            )
    texts = [_without_name(each) for each in messages]
    return items_of(texts, new_id, "messages")


def _without_name(given: object) -> object:
    """Keep of a message what makes it one: its type is another thing in a chat."""
    if not isinstance(given, Mapping):
        return given
    return {"role": given.get("role"), "content": given.get("content")}


class Completion:
    """A chat completion and its pieces.

    Parameters
    ----------
    identity
        Id of the completion.
    created
        Seconds since the epoch.
    model
        The agent's name.
    shows_usage
        Whether the last piece shows the usage; the others have none then, as OpenAI has it.
    """

    def __init__(self, identity: str, created: int, model: str, *, shows_usage: bool = False) -> None:
        self._head: JsonObject = {"id": identity, "created": created, "model": model}
        self._shows_usage = shows_usage

    def whole(self, text: str, reported: JsonObject | None) -> JsonObject:
        """Show it whole."""
        said: JsonObject = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}
        usage = chat_usage(reported)
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage, **_PLAIN}

    def first(self) -> JsonObject:
        """Begin it."""
        return self._piece({"role": "assistant", "content": "", "refusal": None})

    def delta(self, text: str) -> JsonObject:
        """Show a piece of its text."""
        return self._piece({"content": text})

    def last(self, reported: JsonObject | None) -> list[JsonObject]:
        """End it."""
        end = self._piece({}, "stop")
        return [end, {**self._piece(None), "usage": chat_usage(reported)}] if self._shows_usage else [end]

    def _piece(self, delta: JsonObject | None, finish: str | None = None) -> JsonObject:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        choices = [] if delta is None else [choice]
        usage = {"usage": None} if self._shows_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": choices, **usage, **_PLAIN}


_PLAIN: JsonObject = {"service_tier": "default", "system_fingerprint": None}


def chat_usage(reported: JsonObject | None) -> JsonObject | None:
    """Show the usage of a response in a chat's words."""
    if reported is None:
        return None
    details, written = reported["input_tokens_details"], reported["output_tokens_details"]
    assert isinstance(details, Mapping)
    assert isinstance(written, Mapping)
    return {
        "prompt_tokens": reported["input_tokens"],
        "completion_tokens": reported["output_tokens"],
        "total_tokens": reported["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": details["cached_tokens"], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": written["reasoning_tokens"], "audio_tokens": 0},
    }
