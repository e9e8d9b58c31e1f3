"""What a client says, understood."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.conversations import ConversationItem
from openai.types.responses import ResponseItem

from agentd.gateway.http.errors import ApiError
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.said import items_of, message_to_agent
from tests.gateway.openai.strict import check
from tests.support.effort import examples


def said(given_input: str | list[object], instructions: str | None = None) -> str:
    return message_to_agent(instructions, items(given_input))


def items(given_input: str | list[object]) -> list[JsonObject]:
    numbers = itertools.count()
    return items_of(given_input, lambda prefix: f"{prefix}_{next(numbers)}")


def user(text: str) -> JsonObject:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    ("given_input", "instructions", "expected"),
    [
        ("Hello", None, "Hello"),
        ("Hello", "Be brief.", "Be brief.\n\nHello"),
        ("Hello", "", "Hello"),
        ([user("Hello")], None, "Hello"),
        ([user("One"), user("Two")], None, "One\n\nTwo"),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}], None, "a"),
        ([{"role": "developer", "content": "Be kind."}, user("Hi")], "Be brief.", "Be brief.\n\nBe kind.\n\nHi"),
        ([user("Hi"), {"role": "system", "content": "Be kind."}], None, "Be kind.\n\nHi"),
        ([{"type": "reasoning", "id": "r", "summary": []}, user("Hi")], None, "Hi"),
    ],
)
def test_what_is_said_is_one_message(given_input: str | list[object], instructions: str | None, expected: str) -> None:
    assert said(given_input, instructions) == expected


def test_what_others_said_before_is_a_transcript() -> None:
    call = {
        "type": "mcp_call",
        "server_label": "codex",
        "name": "shell",
        "arguments": '{"text": "ls"}',
        "output": "a.txt",
    }
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Here."}]}
    assert said([user("List"), call, answer, user("And"), user("now?")], "Be brief.") == (
        "Be brief.\n\nThe conversation so far:\n\nUser: List\n\n"
        '(used shell: {"text": "ls"} -> a.txt)\n\nAssistant: Here.\n\nGo on from here:\n\nAnd\n\nnow?'
    )


def test_a_transcript_may_end_with_the_assistant() -> None:
    assert said([user("Count"), {"role": "assistant", "content": "1 2"}]) == (
        "The conversation so far:\n\nUser: Count\n\nAssistant: 1 2"
    )


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ("text", "input[0]"),
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, "input[0].type"),
        ({"type": "mcp_call", "name": "x", "arguments": "{}"}, "input[0].server_label"),
    ],
)
def test_what_an_agent_cannot_be_told_is_refused_by_name(item: object, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        items([item])
    assert (refused.value.status, refused.value.param) == (400, param)


ITEMS = st.one_of(
    st.builds(
        lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant", "system"]), st.text()
    ),
    st.builds(lambda text: {"type": "mcp_call", "server_label": "a", "name": "b", "arguments": text}, st.text()),
)


@examples(30)
@given(st.lists(ITEMS, max_size=6))
def test_the_clients_models_take_what_it_said(given_input: list[object]) -> None:
    for item in items(given_input):
        check(ResponseItem, item)
        check(ConversationItem, item)
