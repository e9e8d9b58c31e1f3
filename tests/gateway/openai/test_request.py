"""What may be asked for, and what is refused by name."""

from __future__ import annotations

from typing import get_args

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response import Response
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from openai.types.responses.response_includable import ResponseIncludable
from openai.types.responses.service_tier import ServiceTier
from openai.types.shared import Reasoning as OfClient
from pydantic import ValidationError

from agentd.gateway.http.body import few_unknown
from agentd.gateway.http.errors import ApiError
from agentd.gateway.openai.chat import CreateCompletion, check_completion, items_of_messages
from agentd.gateway.openai.choices import Reasoning
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.refusal import parse
from agentd.gateway.openai.request import CreateResponse, check
from agentd.gateway.openai.said import message_to_agent

RESPONSE: JsonObject = {"model": "a", "input": "hi"}
CHAT: JsonObject = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}


def refused_response(**more: object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        check(parse(CreateResponse, {**RESPONSE, **more}))
    return refused.value


def refused_chat(**more: object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        check_completion(parse(CreateCompletion, {**CHAT, **more}))
    return refused.value


def test_every_parameter_of_the_client_is_known() -> None:
    assert ResponseCreateParamsStreaming.__annotations__.keys() <= CreateResponse.model_fields.keys()
    assert CompletionCreateParamsStreaming.__annotations__.keys() <= CreateCompletion.model_fields.keys()


def test_every_parameter_may_be_null_or_what_is_so_anyway() -> None:
    optional = dict.fromkeys(CreateResponse.model_fields, None)
    check(parse(CreateResponse, {**optional, **RESPONSE}))
    harmless = {
        "tools": [], "tool_choice": "auto", "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "temperature": 1, "top_p": 1.0, "top_logprobs": 0,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": None, "summary": "auto"}, "parallel_tool_calls": True, "service_tier": "auto",
        "truncation": "auto", "metadata": {"a": "b"}, "user": "u", "store": True,
        "stream_options": {"include_obfuscation": False},
    }  # fmt: skip
    check(parse(CreateResponse, {**RESPONSE, **harmless}))
    optional = dict.fromkeys(CreateCompletion.model_fields, None)
    check_completion(parse(CreateCompletion, {**optional, **CHAT}))
    harmless = {
        "n": 1, "temperature": 1.0, "stop": [], "tools": [], "response_format": {"type": "text"},
        "logprobs": False, "modalities": ["text"], "seed": 1, "presence_penalty": 0, "verbosity": "medium",
    }  # fmt: skip
    check_completion(parse(CreateCompletion, {**CHAT, **harmless}))


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"input": None}, "input", "invalid_type"),
        ({"input": 5}, "input", "invalid_type"),
        ({"made_up": 1}, "made_up", "unknown_parameter"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata", "invalid_value"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools", "unsupported_parameter"),
        ({"tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format", "unsupported_parameter"),
        ({"top_logprobs": 3}, "top_logprobs", "unsupported_parameter"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
        ({"max_tool_calls": 1}, "max_tool_calls", "unsupported_parameter"),
        ({"max_output_tokens": 100}, "max_output_tokens", "unsupported_parameter"),
        ({"temperature": 0.2}, "temperature", "unsupported_parameter"),
        ({"temperature": 0}, "temperature", "unsupported_parameter"),
        ({"top_p": 0}, "top_p", "unsupported_parameter"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "unsupported_parameter"),
        ({"previous_response_id": "r", "conversation": "c"}, "conversation", "mutually_exclusive_parameters"),
        ({"background": True, "store": False}, "store", "invalid_value"),
        ({"service_tier": "nonsense"}, "service_tier", "invalid_value"),
        ({"truncation": "nonsense"}, "truncation", "invalid_value"),
        ({"prompt_cache_retention": "nonsense"}, "prompt_cache_retention", "invalid_value"),
        ({"include": ["nonsense"]}, "include[0]", "invalid_value"),
        ({"reasoning": {"summary": "nonsense"}}, "reasoning.summary", "invalid_value"),
        ({"reasoning": {"sumary": "auto"}}, "reasoning.sumary", "unknown_parameter"),
        ({"text": {"verbositi": "medium"}}, "text.verbositi", "unknown_parameter"),
    ],
)
def test_what_cannot_be_had_in_a_response_is_refused_by_name(more: JsonObject, param: str, code: str) -> None:
    error = refused_response(**more)
    assert (error.status, error.param, error.code, error.kind) == (400, param, code, "invalid_request_error")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"functions": [{"name": "f"}]}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"temperature": 0}, "temperature"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"service_tier": "nonsense"}, "service_tier"),
        ({"prompt_cache_retention": "nonsense"}, "prompt_cache_retention"),
    ],
)
def test_what_cannot_be_had_in_a_chat_is_refused_by_name(more: JsonObject, param: str) -> None:
    assert refused_chat(**more).param == param


def test_a_chat_is_told_as_a_conversation() -> None:
    messages: list[object] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One?"}], "name": "bob"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
    ]
    text = message_to_agent(None, items_of_messages(messages, lambda prefix: f"{prefix}_1"))
    assert text == ("Be brief.\n\nThe conversation so far:\n\nUser: One?\n\nAssistant: 1\n\nGo on from here:\n\nTwo?")


def test_a_chat_of_tools_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        items_of_messages([{"role": "tool", "content": "x", "tool_call_id": "c"}], lambda prefix: prefix)
    assert refused.value.param == "messages[0]"


def words_of(choice: object) -> list[str]:
    """Give the words of a Literal, which may be optional."""
    return [choice] if isinstance(choice, str) else [word for each in get_args(choice) for word in words_of(each)]


def test_every_word_of_the_client_is_known() -> None:
    retention = Response.model_fields["prompt_cache_retention"].annotation
    assert "24h" in words_of(retention)
    for word in words_of(ServiceTier):
        check(parse(CreateResponse, {**RESPONSE, "service_tier": word}))
        check_completion(parse(CreateCompletion, {**CHAT, "service_tier": word}))
    for word in words_of(retention):
        check(parse(CreateResponse, {**RESPONSE, "prompt_cache_retention": word}))
    check(parse(CreateResponse, {**RESPONSE, "include": words_of(ResponseIncludable)}))
    assert Reasoning.__annotations__.keys() == OfClient.__annotations__.keys()


@pytest.mark.parametrize("more", [{"include": ["nonsense"] * 99}, {"metadata": {str(n): n for n in range(99)}}])
def test_what_is_wrong_many_times_is_one_error(more: JsonObject) -> None:
    with pytest.raises(ValidationError) as wrong:
        CreateResponse.model_validate({**RESPONSE, **more})
    assert wrong.value.error_count() == 1


def test_of_many_unknown_parameters_the_first_are_looked_at() -> None:
    many = {**{f"x{n}": n for n in range(1000)}, **RESPONSE}
    few = few_unknown(many, CreateResponse)
    assert isinstance(few, dict)
    assert [*few] == [*(name for name in CreateResponse.model_fields if name in RESPONSE), "x0", "x1", "x2", "x3", "x4"]
    assert few_unknown(RESPONSE, CreateResponse) is RESPONSE
    with pytest.raises(ApiError) as refused:
        parse(CreateResponse, many)
    assert (refused.value.param, refused.value.code) == ("x0", "unknown_parameter")


def test_another_word_is_told_with_those_that_may_be() -> None:
    text = "Invalid 'truncation': found \"middle\", expected 'auto' or 'disabled'."
    assert refused_response(truncation="middle").message == text
