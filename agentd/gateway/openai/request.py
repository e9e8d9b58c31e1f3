"""What a client may ask for in a response, and what of it cannot be had. Pure.

An agent has its own tools and its own model: what a request says of these is refused by name where the answer would be
another one, and else passed over, as OpenAI passes over what a model does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from agentd.gateway.http.errors import ApiError
from agentd.gateway.openai.choices import CacheRetention, Includable, Reasoning, ServiceTier, TextConfig
from agentd.gateway.openai.refusal import refuse

_MOST_PAIRS: Final = 16


def _few_pairs(value: object) -> object:
    """Refuse too many before each is looked at: an error would be made of each that is wrong, which takes seconds."""
    if isinstance(value, dict) and len(value) > _MOST_PAIRS:
        raise PydanticCustomError(
            "too_long", "Dictionary should have at most {most} items, not {found}",
            {"most": _MOST_PAIRS, "found": len(value)},
        )  # fmt: skip
    return value


Metadata: TypeAlias = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=_MOST_PAIRS),
    BeforeValidator(_few_pairs),
]
Number: TypeAlias = Annotated[float, Field(strict=True)]
Whole: TypeAlias = Annotated[int, Field(strict=True, ge=0)]

OWN_TOOLS = "The agent uses its own tools, and cannot be given others."


class Named(BaseModel):
    """An object that is referred to."""

    model_config = ConfigDict(extra="forbid")
    id: str


class CreateResponse(BaseModel):
    """The body of ``POST /v1/responses``."""

    model_config = ConfigDict(extra="forbid")

    input: str | list[object]
    model: str | None = None
    instructions: str | None = None
    stream: StrictBool | None = None
    background: StrictBool | None = None
    store: StrictBool | None = None
    previous_response_id: str | None = None
    conversation: str | Named | None = None
    metadata: Metadata | None = None

    # Shown again, or passed over.
    include: Annotated[list[Includable], Field(fail_fast=True)] | None = None
    parallel_tool_calls: StrictBool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, object] | None = None
    prompt_cache_retention: CacheRetention | None = None
    safety_identifier: str | None = None
    service_tier: ServiceTier | None = None
    stream_options: dict[str, object] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    access_programs: dict[str, object] | None = None
    background_options: dict[str, object] | None = None
    context_management: list[object] | None = None
    image: dict[str, object] | None = None

    # Refused, unless they ask for what is so anyway.
    max_output_tokens: Whole | None = None
    max_tool_calls: int | None = None
    moderation: dict[str, object] | None = None
    prompt: dict[str, object] | None = None
    reasoning: Reasoning | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    text: TextConfig | None = None
    tool_choice: str | dict[str, object] | None = None
    tools: list[object] | None = None
    top_logprobs: Whole | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None

    @property
    def conversation_id(self) -> str | None:
        """Id of the conversation that it belongs to."""
        return self.conversation.id if isinstance(self.conversation, Named) else self.conversation


def check(asked: CreateResponse) -> None:
    """Refuse what cannot be had.

    Raises
    ------
    ApiError
        Of status 400, which names the parameter.
    """
    if asked.previous_response_id is not None and asked.conversation is not None:
        raise refuse(
            "conversation",
            "'conversation' and 'previous_response_id' cannot be used together: leave out one of them.",
            "mutually_exclusive_parameters",
        )
    if asked.background and asked.store is False:
        raise refuse("store", "A response in the background must be stored: leave out 'store'.", "invalid_value")
    check_tools(asked.tools, asked.tool_choice)
    text, reasoning = asked.text or TextConfig(), asked.reasoning or Reasoning()
    check_format(text.format, "text.format")
    check_model(
        {
            "max_output_tokens": asked.max_output_tokens,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "reasoning.effort": reasoning.effort,
            "text.verbosity": text.verbosity,
        }
    )
    refused = {
        "prompt": (asked.prompt, "There are no stored prompts: send 'instructions' and 'input'."),
        "moderation": (asked.moderation, "Nothing is moderated here."),
        "max_tool_calls": (asked.max_tool_calls, "How often an agent uses its tools cannot be limited."),
        "top_logprobs": (asked.top_logprobs or None, "An agent's model tells no probabilities of tokens."),
    }
    for name, (value, why) in refused.items():
        if value is not None:
            raise refuse(name, f"'{name}' is not supported. {why}")


_AS_IT_IS: Final[Mapping[str, object]] = {
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "text.verbosity": "medium",
    "verbosity": "medium",
}
"""What changes nothing: OpenAI's defaults."""


def check_model(asked: Mapping[str, object]) -> None:
    """Refuse to have the agent's model answer in another way than it does.

    Parameters
    ----------
    asked
        Values by the names of their parameters; ``None`` is one that was not sent.

    Raises
    ------
    ApiError
        Of status 400, which names the parameter.
    """
    for name, value in asked.items():
        if value is not None and value != _AS_IT_IS.get(name):
            usual = f", or {_AS_IT_IS[name]!r}" if name in _AS_IT_IS else ""
            raise refuse(
                name,
                f"'{name}' is not supported. How an agent's model answers is its own affair: leave it out{usual}.",
            )


def check_tools(tools: list[object] | None, choice: object) -> None:
    """Refuse tools, and to have one used.

    Raises
    ------
    ApiError
        Of status 400.
    """
    if tools:
        raise refuse("tools", f"'tools' is not supported. {OWN_TOOLS}")
    if choice not in (None, "auto", "none"):
        raise refuse("tool_choice", f"'tool_choice' can only be 'auto' or 'none'. {OWN_TOOLS}")


def check_format(form: object, param: str) -> None:
    """Refuse an answer in another form than text.

    Raises
    ------
    ApiError
        Of status 400.
    """
    kind = form.get("type") if isinstance(form, dict) else form
    if kind not in (None, "text"):
        raise refuse(param, f"'{param}' can only be text: an agent's answer cannot be held to a schema.")


def empty_input(param: str) -> ApiError:
    """Refuse to send an agent nothing."""
    return refuse(param, f"'{param}' has no text that the agent could be sent.", "invalid_value")
