"""Real agents' traffic in the Agent Client Protocol, as it was recorded: what the renderer makes of it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from agentd.acp.session import Session
from agentd.turns.conversation import Conversation, take
from agentd.turns.events import Ended, Failure, Outcome, PermissionResolved, ToolCompleted, ToolStarted, Usage
from tests.turns.claude_run import until
from tests.turns.test_acp_parts import Shown

SAMPLES = Path(__file__).with_name("samples") / "acp"
PROGRAM = Path(__file__).parents[1] / "support" / "acp_replay.py"
REPLY = "STUB-REPLY: "


def steps(name: str) -> list[dict[str, object]]:
    """What the client did after it had opened the session."""
    lines = [json.loads(line) for line in (SAMPLES / f"{name}.jsonl").read_text().splitlines()]
    return [line["m"] for line in lines if line["dir"] == "out"][2:]


async def replayed(name: str, folder: Path) -> tuple[Shown, list[str]]:
    """Play the client's part of a record; gives what is shown and told, and the messages."""
    shown, messages = Shown(), list[str]()
    session = Session("run", shown, shown)
    await session.agent.start([sys.executable, "-I", "-S", str(PROGRAM), str(SAMPLES / f"{name}.jsonl")], {})
    tasks = [asyncio.create_task(session.agent.read())]
    await session.open(folder, None)
    tasks.append(asyncio.create_task(session.converse()))
    asked = 0
    for step in steps(name):
        match step:
            case {"method": "session/prompt", "params": {"prompt": [{"text": str(text)}]}}:
                await until(lambda: session._turn is None and not session._queue)
                messages.append(text)
                session.message(text)
            case {"method": "session/cancel"}:
                # Not before what came ahead of it.
                heard = len(shown.events)
                await until(lambda heard=heard: session._turn is not None or len(shown.events) > heard)  # type: ignore[misc]
                session.interrupt()
            case {"result": {"outcome": {"optionId": str(option)}}}:
                asked += 1
                await until(lambda: session._permissions.first is not None)
                assert session.answer(f"run.p{asked}", "answer", option) is None
            case _:
                raise AssertionError(step)
    await until(lambda: session._turn is None and not session._queue)
    assert await session.agent.end(5.0) == 0
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return shown, messages


@pytest.mark.parametrize("name", ["gemini", "claude", "codex", "opencode"])
async def test_recorded_turns_are_told_as_they_were(name: str, tmp_path: Path) -> None:
    shown, prompts = await replayed(name, tmp_path)
    ends = [event for event in shown.events if isinstance(event, Ended)]
    assert len(ends) == len(prompts) == 6
    # opencode asks its model again after a 429 until somebody interrupts it.
    limit = Outcome.INTERRUPTED if name == "opencode" else Outcome.FAILED
    completed, interrupted, failed = Outcome.COMPLETED, Outcome.INTERRUPTED, Outcome.FAILED
    assert [end.outcome for end in ends] == [completed, completed, completed, interrupted, limit, failed]
    assert [end.final_text for end in ends[:2]] == [REPLY + prompt for prompt in prompts[:2]]
    assert [end.failure for end in ends[4:]] == [
        None if name == "opencode" else Failure.USAGE_LIMIT,
        Failure.AUTH_ERROR,
    ]
    # As agentd makes it of these events.
    conversation = Conversation()
    for event in shown.events:
        conversation = take(conversation, event, 0.0)
    assert conversation.turn is None
    assert not conversation.requests
    used = [event for event in shown.events if isinstance(event, Usage)]
    assert (used[0].input_tokens, used[0].output_tokens) == (10, 5)
    if name == "claude":
        assert [round(event.cost_usd or 0, 5) for event in used[:3]] == [0.00035, 0.00035, 0.00035]
    started = [event.tool for event in shown.events if isinstance(event, ToolStarted)]
    over = [event.tool for event in shown.events if isinstance(event, ToolCompleted)]
    assert over
    assert set(over) <= set(started)
    assert len(started) == len(set(started))
    decided = [event.decision for event in shown.events if isinstance(event, PermissionResolved)]
    assert decided == (["allow", "deny"] if name in ("gemini", "opencode") else [])
