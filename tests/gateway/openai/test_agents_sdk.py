"""OpenAI's Agents SDK, with an agent behind the gateway as its model."""

from __future__ import annotations

import pytest
from agents import Agent, ModelBehaviorError, OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner
from openai import AsyncOpenAI

NO_TRACES = RunConfig(tracing_disabled=True)


def agent(client: AsyncOpenAI) -> Agent[None]:
    return Agent(name="A", instructions="Be brief.", model=OpenAIResponsesModel("alice", client))


async def test_runs_go_on_and_are_streamed(async_client: AsyncOpenAI) -> None:
    sdk = agent(async_client)
    first = await Runner.run(sdk, "USE-TOOL hello", run_config=NO_TRACES)
    assert "Be brief.\n\nUSE-TOOL hello" in first.final_output
    assert "tool_call_item" in [item.type for item in first.new_items]
    again = await Runner.run(sdk, "again", previous_response_id=first.last_response_id, run_config=NO_TRACES)
    assert "again" in again.final_output
    streamed = Runner.run_streamed(
        sdk, "USE-TOOL more", previous_response_id=again.last_response_id, run_config=NO_TRACES
    )
    names = [event.name async for event in streamed.stream_events() if event.type == "run_item_stream_event"]
    assert {"tool_called", "message_output_created"} <= set(names)
    assert "more" in streamed.final_output
    told = await Runner.run(sdk, [*first.to_input_list(), {"role": "user", "content": "what?"}], run_config=NO_TRACES)
    assert "User: USE-TOOL hello" in told.final_output, "the SDK's own history is a transcript"


async def test_conversations_chats_and_failures(async_client: AsyncOpenAI) -> None:
    sdk = agent(async_client)
    conversation = await async_client.conversations.create()
    result = await Runner.run(sdk, "hello", conversation_id=conversation.id, run_config=NO_TRACES)
    assert "hello" in result.final_output
    chat: Agent[None] = Agent(name="B", model=OpenAIChatCompletionsModel("alice", async_client))
    assert "hello" in (await Runner.run(chat, "hello", run_config=NO_TRACES)).final_output
    with pytest.raises(ModelBehaviorError):
        await Runner.run(sdk, "STUB-FAIL:usage_limit", run_config=NO_TRACES)
