from __future__ import annotations

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agentd.gateway.openai.chat import Completion
from agentd.gateway.openai.objects import JsonObject
from tests.gateway.openai.strict import check

USED: JsonObject = {
    "input_tokens": 8, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0}, "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 11,
}  # fmt: skip


@pytest.mark.parametrize("used", [None, USED])
def test_a_whole_completion_is_the_clients(used: JsonObject | None) -> None:
    completion = Completion("chatcmpl-1", 1, "a").whole("hello", used)
    check(ChatCompletion, completion)
    found = ChatCompletion.model_validate(completion)
    assert found.choices[0].message.content == "hello"
    assert (found.usage is None) == (used is None)


@pytest.mark.parametrize("shows_usage", [False, True])
def test_pieces_are_the_clients(shows_usage: bool) -> None:
    completion = Completion("chatcmpl-1", 1, "a", shows_usage=shows_usage)
    pieces = [completion.first(), completion.delta("hel"), completion.delta("lo"), *completion.last(USED)]
    for piece in pieces:
        check(ChatCompletionChunk, piece)
    found = [ChatCompletionChunk.model_validate(piece) for piece in pieces]
    assert "".join(choice.delta.content or "" for piece in found for choice in piece.choices) == "hello"
    assert [choice.finish_reason for piece in found for choice in piece.choices] == [None, None, None, "stop"]
    assert [piece.usage is not None for piece in found] == [False] * 4 + [True] * shows_usage
