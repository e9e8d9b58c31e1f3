"""Parameters of OpenAI's that take one of some words. Pure.

OpenAI refuses any other word, and so does agentd, also where none of them changes anything here: it was misspelt.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

ServiceTier: TypeAlias = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]

# Its client wrote in-memory once.
CacheRetention: TypeAlias = Literal["in_memory", "in-memory", "24h"]

Includable: TypeAlias = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]

_Summary: TypeAlias = Literal["auto", "concise", "detailed"]


class Reasoning(BaseModel):
    """How a model is to think."""

    model_config = ConfigDict(extra="forbid")

    context: Literal["auto", "current_turn", "all_turns"] | None = None
    effort: str | None = None
    generate_summary: _Summary | None = None
    mode: str | None = None
    summary: _Summary | None = None


class TextConfig(BaseModel):
    """In which form an answer is to be."""

    model_config = ConfigDict(extra="forbid")

    format: dict[str, object] | None = None
    verbosity: str | None = None
