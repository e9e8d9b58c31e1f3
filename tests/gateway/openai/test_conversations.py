"""Conversations and chats by the official client."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI
from openai.types.conversations import ConversationItem

from tests.support.gateway import Gateway
from tests.support.waiting import wait_for


def texts(client: OpenAI, conversation: str, **query: object) -> list[str]:
    items = client.conversations.items.list(conversation, order="asc", limit=2, **query)  # type: ignore[arg-type]
    return [text(item) for item in items]


def text(item: ConversationItem) -> str:
    assert item.type == "message"
    return str(getattr(item.content[0], "text", ""))


def test_a_conversation_remembers_what_was_said(client: OpenAI) -> None:
    conversation = client.conversations.create(
        metadata={"topic": "names"}, items=[{"type": "message", "role": "user", "content": "my name is Eve"}]
    )
    assert client.conversations.retrieve(conversation.id) == conversation
    first = client.responses.create(model="alice", input="hello", conversation=conversation.id)
    assert first.conversation is not None
    assert first.conversation.id == conversation.id
    assert "my name is Eve\n\nhello" in first.output_text
    second = client.responses.create(model="alice", input="and?", conversation={"id": conversation.id})
    assert "Eve" not in second.output_text, "the agent knows it already"
    client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "I am forty"}])
    other = client.responses.create(model="bob", input="who am I?", conversation=conversation.id)
    for said in ("User: my name is Eve", "User: hello", "Assistant: ", "I am forty", "who am I?"):
        assert said in other.output_text, "another agent is told everything"
    listed = texts(client, conversation.id)
    assert listed[:2] == ["my name is Eve", "hello"]
    assert len(listed) == 8

    items = client.conversations.items.list(conversation.id, order="asc").data
    assert client.conversations.items.retrieve(str(items[0].id), conversation_id=conversation.id) == items[0]
    for item in items[:2]:
        client.conversations.items.delete(str(item.id), conversation_id=conversation.id)
    assert texts(client, conversation.id) == listed[2:]
    updated = client.conversations.update(conversation.id, metadata={"topic": "age"})
    assert updated.metadata == {"topic": "age"}
    assert client.conversations.delete(conversation.id).deleted
    for gone in (
        lambda: client.conversations.retrieve(conversation.id),
        lambda: client.conversations.items.list(conversation.id),
        lambda: client.responses.create(model="alice", input="hello", conversation=conversation.id),
    ):
        with pytest.raises(openai.NotFoundError):
            gone()
    assert client.responses.retrieve(other.id) == other


def test_an_empty_conversation_and_wrong_items(client: OpenAI) -> None:
    conversation = client.conversations.create()
    assert list(client.conversations.items.list(conversation.id)) == []
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve("msg_0", conversation_id=conversation.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.conversations.items.list(conversation.id, after="msg_0")
    assert refused.value.param == "after"
    with pytest.raises(openai.BadRequestError) as refused:
        client.conversations.items.list(conversation.id, limit=0)
    assert refused.value.param == "limit"
    with pytest.raises(openai.BadRequestError) as refused:
        client.conversations.items.create(
            conversation.id, items=[{"type": "function_call_output", "call_id": "c", "output": "x"}]
        )
    assert refused.value.param == "items[0].type"


def test_a_key_has_a_conversation_made_and_added_to_once(client: OpenAI) -> None:
    headers = {"Idempotency-Key": "c-1"}
    first, again = (client.conversations.create(metadata={"a": "b"}, extra_headers=headers) for _ in range(2))
    assert again == first
    for _ in range(2):
        client.conversations.items.create(
            first.id, items=[{"role": "user", "content": "hello"}], extra_headers={"Idempotency-Key": "i-1"}
        )
    assert len(client.conversations.items.list(first.id).data) == 1
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.conversations.create(metadata={"a": "c"}, extra_headers=headers)
    assert refused.value.code == "idempotency_key_reused"


def test_a_chat(client: OpenAI, serving: Gateway) -> None:
    answer = client.chat.completions.create(
        model="alice",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one?"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": "two?"},
        ],
    )
    [choice] = answer.choices
    assert choice.finish_reason == "stop"
    assert "User: one?\n\nAssistant: 1\n\nGo on from here:\n\ntwo?" in str(choice.message.content)
    with client.chat.completions.create(
        model="alice",
        messages=[{"role": "user", "content": "hello"}],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "hello" in said
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []

    def closed() -> bool:
        newest = serving.ask("GET", "/sessions?limit=2")["sessions"]
        return [session["status"] for session in newest] == ["closed", "closed"]

    wait_for(closed, what="the agents of both chats are let go")


def test_a_chat_that_fails_is_not_repeated(client: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        client.with_options(max_retries=2).chat.completions.create(
            model="alice", messages=[{"role": "user", "content": "STUB-FAIL:usage_limit"}]
        )
    assert limited.value.response.headers["x-should-retry"] == "false"
    with (
        pytest.raises(openai.APIError),
        client.chat.completions.create(
            model="alice", messages=[{"role": "user", "content": "STUB-FAIL:usage_limit"}], stream=True
        ) as stream,
    ):
        list(stream)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="alice", messages=[{"role": "user", "content": "hello"}], n=2)
    assert refused.value.param == "n"
